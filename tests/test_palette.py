"""Pictures of class ids keep the ids, show the colours and never leave half a file."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from semivl_cli.palette import NEUTRAL, is_ours, is_replaceable, made_from, overlay, save_image, save_mask

COLORS = [(10, 20, 30), (200, 100, 0), (255, 255, 255)]
masks = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("masks")


@settings(deadline=None)
@given(ids=masks, classes=st.integers(0, 255))
def test_a_saved_mask_reads_back_as_the_ids_and_shows_the_colours(folder, ids, classes):
    colors = [(k, 255 - k, k // 2) for k in range(classes)]
    shown = np.array(colors + [NEUTRAL] * (256 - classes), np.uint8)
    save_mask(folder / "mask.png", ids, colors)
    with Image.open(folder / "mask.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), ids)
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), shown[ids])


def test_ids_beyond_the_classes_are_neutral(tmp_path):
    save_mask(tmp_path / "mask.png", np.array([[0, 2, 3, 255]], np.uint8), COLORS)
    with Image.open(tmp_path / "mask.png") as picture:
        painted = np.asarray(picture.convert("RGB"))
    assert [tuple(pixel) for pixel in painted[0].tolist()] == [COLORS[0], COLORS[2], NEUTRAL, NEUTRAL]


@pytest.mark.parametrize("ids", [np.zeros((2, 2), np.int64), np.zeros((2, 2, 3), np.uint8)])
def test_a_mask_of_another_type_or_shape_is_a_programming_mistake(tmp_path, ids):
    with pytest.raises(AssertionError):
        save_mask(tmp_path / "mask.png", ids, COLORS)


def test_an_overlay_mixes_inside_a_class_and_leaves_ignored_pixels_alone():
    image = np.full((5, 6, 3), 100, np.uint8)
    ids = np.full((5, 6), 255, np.uint8)
    ids[:, :3] = 1
    painted = overlay(image, ids, COLORS, alpha=0.5)
    np.testing.assert_array_equal(painted[:, 3:], image[:, 3:])
    np.testing.assert_allclose(painted[2, 0], [150, 100, 50], atol=1)


def test_an_overlay_draws_borders_stronger():
    image = np.zeros((6, 6, 3), np.uint8)
    ids = np.full((6, 6), 1, np.uint8)
    ids[3:] = 2
    red = overlay(image, ids, COLORS, alpha=0.5)[:, 0, 0].astype(int)
    assert red[1] == 100 and red[2] == 150  # class 1: red 200, at opacity 1/2 inside and 3/4 at the border
    assert red[3] > red[4]


@settings(deadline=None)
@given(ids=masks, alpha=st.floats(0, 1))
def test_an_overlay_of_nothing_but_unknown_ids_is_the_image(ids, alpha):
    image = np.repeat(ids[..., None], 3, axis=2)
    np.testing.assert_array_equal(overlay(image, ids, [], alpha), image)


def test_full_opacity_shows_the_colours_alone():
    ids = np.array([[0, 1], [2, 1]], np.uint8)
    np.testing.assert_array_equal(overlay(np.zeros((2, 2, 3), np.uint8), ids, COLORS, 1.0), np.array(COLORS)[ids])


def test_a_png_keeps_pixels_and_a_jpeg_is_a_jpeg(tmp_path):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    save_image(tmp_path / "a.png", pixels)
    save_image(tmp_path / "a.JPG", pixels)
    with Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)
    with Image.open(tmp_path / "a.JPG") as picture:
        assert picture.format == "JPEG"


def test_what_is_written_here_is_known_again_unless_it_is_a_label(tmp_path):
    ids = np.array([[0, 1, 255]], np.uint8)
    save_mask(tmp_path / "prediction.png", ids, COLORS)
    save_mask(tmp_path / "converted.png", ids, COLORS, "the drawing")
    save_mask(tmp_path / "label.png", ids, COLORS, ours=False)
    for suffix in (".jpg", ".png"):
        save_image(tmp_path / f"overlay{suffix}", np.zeros((2, 2, 3), np.uint8), ours=True)
        save_image(tmp_path / f"scene{suffix}", np.zeros((2, 2, 3), np.uint8))
    Image.fromarray(ids).save(tmp_path / "stranger.png")
    Image.fromarray(ids).save(tmp_path / "stranger.tif", description="semivl")
    Image.fromarray(ids).save(tmp_path / "stranger.jpg", comment=b"my semivl")
    (tmp_path / "text.png").write_text("no picture")
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files if is_ours(path)] == [
        "converted.png",
        "overlay.jpg",
        "overlay.png",
        "prediction.png",
    ]
    # A label that was converted from a drawing makes no room for a prediction.
    assert [path.name for path in files if is_replaceable(path)] == ["overlay.jpg", "overlay.png", "prediction.png"]
    assert made_from(tmp_path / "converted.png") == "the drawing" and made_from(tmp_path / "label.png") == ""
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "label.png")), ids)


def test_what_is_no_file_is_not_ours_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    assert not any(is_ours(tmp_path / name) for name in ("pipe.png", "folder.png", "absent.png"))


@given(data=st.binary(max_size=200))
def test_damaged_pictures_are_nobodys(folder, data):
    for start in (b"", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", b"\xff\xd8\xff\xe0"):
        (folder / "damaged.png").write_bytes(start + data)
        assert not is_ours(folder / "damaged.png")


def test_what_no_file_can_be_called_was_not_written_here(tmp_path):
    for name in ("a" * 5000, "a\0b"):
        assert not is_ours(tmp_path / name) and made_from(tmp_path / name) == ""
