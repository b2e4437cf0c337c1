"""The picture sheet shows what the files hold."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semivl_cli.errors import InputError
from semivl_cli.palette import save_image, save_mask
from semivl_cli.report.examples import CELL, example_miou, examples_sheet
from semivl_cli.report.grid import GAP, MARGIN
from semivl_cli.report.run import read_run

from .conftest import scene, write_example, write_finished

ids = arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, 2, 255]))


@settings(deadline=None)
@given(label=ids, prediction=ids)
def test_the_miou_of_an_example_agrees_with_counting_pixel_by_pixel(label, prediction):
    shares = []
    for c in range(3):
        hit = union = 0
        for truth, guess in zip(label.ravel(), prediction.ravel(), strict=True):
            if truth != 255:
                hit += truth == guess == c
                union += c in (truth, guess)
        if union:
            shares.append(hit / union)
    expected = np.mean(shares) if shares else np.nan
    np.testing.assert_allclose(example_miou(label, prediction, 3), expected)


def test_the_sheet_has_a_row_for_up_to_six_examples(young):
    heights = []
    for k in range(7):
        write_example(young, k, f"image-{k}")
        heights.append(examples_sheet(read_run(young)).shape[0])
    steps = np.diff(heights)
    assert steps[:5].min() > CELL and steps[5] == 0


def test_small_scenes_are_enlarged_pixel_by_pixel(young):
    write_example(young, 0, "a", size=96)
    sheet = examples_sheet(read_run(young))
    picture = sheet[:, MARGIN : MARGIN + CELL]
    top = next(y for y in range(300) if (picture[y : y + 5] != 255).any(axis=2).all())  # the rule above is thinner
    shown = picture[top : top + CELL]
    np.testing.assert_array_equal(shown, scene(0)[0].repeat(3, 0).repeat(3, 1))


@pytest.mark.parametrize("size", [16, 200, 600])
def test_pictures_of_any_size_fit(young, size):
    write_example(young, 0, "a", size=size)
    assert examples_sheet(read_run(young)).shape[1] == 2 * MARGIN + 4 * CELL + 3 * GAP


def test_a_run_without_guidance_has_three_columns(young):
    write_example(young, 0, "a", guided=False)
    assert examples_sheet(read_run(young)).shape[1] == 2 * MARGIN + 3 * CELL + 2 * GAP


@pytest.mark.parametrize("k", [0, 3])
def test_the_legend_names_only_classes_that_occur(young, k):
    write_example(young, k, "a")
    shown = examples_sheet(read_run(young))
    heart = (0xD5, 0x5E, 0x00)
    top = shown[: shown.shape[0] // 4]  # above the pictures, the pure colour of a class is its swatch
    assert (top == heart).all(axis=2).any() == (5 in scene(k)[1])


def test_no_examples_is_said(young):
    with pytest.raises(InputError, match="no examples"):
        examples_sheet(read_run(young))


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("image.png", lambda path: path.write_bytes(path.read_bytes()[:60])),
        ("label.png", lambda path: path.write_bytes(b"")),
        ("prediction.png", Path.unlink),
        ("guidance.png", lambda path: save_image(path, np.zeros((96, 96, 3), np.uint8))),
        ("label.png", lambda path: save_mask(path, np.zeros((9, 9), np.uint8), [(0, 0, 0)])),
        ("image.png", lambda path: (path.unlink(), path.mkdir())),
    ],
)
def test_a_damaged_picture_is_one_line_that_says_what_to_do(young, name, harm):
    write_example(young, 0, "a")
    harm(young / "examples" / "0-a" / name)
    with pytest.raises(
        InputError, match=r"the picture of an example is damaged .*: delete the folder .*examples"
    ) as error:
        examples_sheet(read_run(young))
    assert "\n" not in str(error.value)


def test_the_same_run_gives_the_same_picture(tmp_path):
    first, second = (examples_sheet(read_run(write_finished(tmp_path / folder / "run"))) for folder in "ab")
    np.testing.assert_array_equal(first, second)
