"""The picture of a preview: it can be drawn whatever the image, shows every map, and writes words where they win."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from semivl_cli.report.preview import Preview, draw_preview

RED, BLUE = (200, 30, 30), (30, 60, 200)


def halves(height, width, *, labels=(), zeta=0.9, confidence=0.95):
    """Left half class 0, right half class 1."""
    ids = np.zeros((height, width), dtype=np.uint8)
    ids[:, width // 2 :] = 1
    return Preview(
        title="street.jpg",
        facts="two classes",
        scene=np.full((height, width, 3), 255, dtype=np.uint8),
        classes=[("cup", RED), ("pan", BLUE)],
        ids=ids,
        confidence=np.full((height, width), confidence, dtype=np.float32),
        zeta=zeta,
        winners=ids.astype(np.intp),
        labels=labels,
        shares=[(0, 0.5, 0.5, [("mug", 0.5)]), (1, 0.5, 0.5, [("pan", 0.5)])],
    )


def painted(picture, color, tolerance=60):
    """Pixels that look like a class colour, seen through a pale scene."""
    return int((np.abs(picture.astype(int) - color).sum(axis=2) < tolerance).sum())


@settings(max_examples=30)  # of half a second each
@given(st.integers(1, 900), st.integers(1, 900))
@example(1, 1)
@example(1, 900)
@example(900, 1)
def test_a_picture_of_any_shape_can_be_drawn(height, width):
    picture = draw_preview(halves(height, width, labels=[(0, 0, "a name that is longer than the picture is wide")]))
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert picture.shape[1] >= 3 * 220


@pytest.mark.parametrize("name", ["$x$", "犬", "كلب", "two\nlines", "", "_hidden"])
def test_odd_words_are_drawn_as_they_are(name):
    preview = halves(60, 60, labels=[(30, 15, name)])
    classes, shares = [(name, RED), ("pan", BLUE)], [(0, 1.0, 1.0, [(name, 1.0)])]
    picture = draw_preview(Preview(**{**vars(preview), "title": name, "classes": classes, "shares": shares}))
    assert (picture == RED).all(axis=2).sum() > 100


def test_unsure_pixels_are_not_painted_among_the_sure_ones():
    sure, unsure = draw_preview(halves(96, 96)), draw_preview(halves(96, 96, confidence=0.5))
    assert painted(sure, RED, 160) > painted(unsure, RED, 160) + 5000


def test_words_stand_on_their_region_and_do_not_cover_each_other():
    without, one = draw_preview(halves(300, 300)), draw_preview(halves(300, 300, labels=[(150, 75, "mug")]))
    rows, columns = np.nonzero((without != one).any(axis=2))
    assert len(rows) > 0
    middle = without.shape[1] - 32 - 600 * 3 // 4  # of the left half of the large picture, twice as large as the image
    assert abs(columns.mean() - middle) < 5
    both = draw_preview(halves(300, 300, labels=[(150, 75, "mug"), (152, 80, "beaker")]))
    assert (both == one).all()


def test_many_classes_are_counted_where_the_legend_ends():
    preview = halves(60, 60)
    few = draw_preview(preview)
    shares = [(k % 2, 0.01, 0.0, [("mug", 0.01)]) for k in range(90)]
    many = draw_preview(Preview(**{**vars(preview), "shares": shares}))
    assert len(few) < len(many) < len(few) + 25 * 30
