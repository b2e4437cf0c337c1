"""A sheet shows every class, whatever it is called, and no pixel that is not in the pictures."""

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from semivl_cli.report.grid import MARGIN, blank, fit, head, pixels_of, show, style

COLORS = [(10, 20, 30), (200, 100, 0), (120, 140, 255)]


def sheet(classes, title="title", facts="facts", width=400):
    with style():
        figure, grid = blank([width], [100], gap=0)
        show(figure.add_subplot(grid[0, 0]), np.full((100, width, 3), 255, np.uint8))
        head(figure, title, facts, classes, width)
        return pixels_of(figure)


def test_a_legend_shows_each_colour_and_breaks_lines():
    one = sheet(list(zip("abc", COLORS, strict=True)))
    many = sheet([("a class with a name", COLORS[1])] * 30)
    assert one.shape[1] == many.shape[1] and len(many) > len(one) + 10 * 15
    for color in COLORS:
        assert (one == color).all(axis=2).sum() > 100


@pytest.mark.parametrize("name", ["x" * 500, "two\nlines", "", "$x$ % \\frac{", "犬と猫", "كلب", "שלום", "_hidden"])
def test_odd_names_are_one_line_of_the_sheet(name):
    plain = sheet([("a", COLORS[0])])
    odd = sheet([(name, COLORS[0])], title=name, facts=name)
    assert (odd == COLORS[0]).all(axis=2).sum() > 100
    assert abs(odd.shape[1] - plain.shape[1]) < 20 and len(odd) < len(plain) + 20


def test_what_the_user_has_set_for_his_own_plots_changes_nothing():
    with mpl.rc_context({"savefig.dpi": 300, "figure.facecolor": "black", "font.size": 30, "text.parse_math": True}):
        other = sheet([("a $x$", COLORS[0])])
    np.testing.assert_array_equal(other, sheet([("a $x$", COLORS[0])]))


def test_a_sheet_of_no_classes_is_drawn():
    assert sheet([]).shape[1] == 400 + 2 * MARGIN


@pytest.mark.parametrize(("size", "shown"), [((1, 1), (60, 60)), ((25, 20), (50, 40)), ((60, 7), (60, 7))])
def test_small_pictures_are_enlarged_by_whole_factors(size, shown):
    pixels = np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8)
    enlarged = fit(pixels, Image.Resampling.LANCZOS, 60)
    assert enlarged.shape == shown
    np.testing.assert_array_equal(enlarged[:: shown[0] // size[0], :: shown[1] // size[1]], pixels)


@pytest.mark.parametrize(("size", "shown"), [((120, 90), (60, 45)), ((900, 1), (60, 1)), ((61, 61), (60, 60))])
def test_large_pictures_are_reduced_and_masks_keep_their_values(size, shown):
    ids = np.random.default_rng(0).choice(np.array([0, 7, 255], np.uint8), size)
    reduced = fit(ids, Image.Resampling.NEAREST, 60)
    assert reduced.shape == shown and set(np.unique(reduced)) <= {0, 7, 255}
