import io

import numpy as np
import pytest
import torch
from PIL import Image

from semivl_cli.data.read.handed_over import shown_of
from semivl_cli.data.read.images import read_image
from semivl_cli.errors import InputError

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        RGB,
        RGB[..., ::-1].copy()[..., ::-1],  # as of OpenCV
        np.asfortranarray(RGB),
        np.repeat(RGB, 2, axis=1)[:, ::2],
        RGB.astype(np.uint16) * 257,
        RGB.astype(">u2") * 257,
        np.dstack([RGB, np.full((5, 7), 255, np.uint8)]),
        Image.fromarray(RGB),
        Image.fromarray(RGB).convert("RGBA"),
    ],
)
def test_the_same_picture_is_the_same_whatever_holds_it(image):
    pixels = shown_of(image).pixels
    assert np.array_equal(pixels, RGB)
    assert pixels.flags.c_contiguous


def test_grey_and_transparent_arrays_are_what_files_of_them_would_be(tmp_path):
    rgba = np.dstack([RGB, RGB[..., 0]])
    for number, image in enumerate((RGB[..., 0], RGB[..., :1], rgba, RGB[..., 1].astype(np.uint16) * 100)):
        path = tmp_path / f"{number}.png"
        Image.fromarray(image.squeeze()).save(path)
        assert np.array_equal(shown_of(image).pixels, read_image(path))
        assert np.array_equal(shown_of(path).pixels, shown_of(str(path)).pixels)
    deep = np.array([[0, 1023]], np.uint16)
    assert shown_of(deep, (0, 1023)).pixels[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("deep", [np.array([[0, 1023]], np.uint16), Image.fromarray(np.array([[0, 255]], np.int32))])
def test_what_uses_little_of_its_range_is_faint_whatever_holds_it(deep):
    assert shown_of(deep).faint
    assert not shown_of(deep, (0, 1023)).faint


def test_a_pillow_image_is_turned_as_its_file_says():
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x112] = 6
    Image.fromarray(RGB).save(buffer, "PNG", exif=exif)
    with Image.open(buffer) as image:
        assert np.array_equal(shown_of(image).pixels, np.rot90(RGB, -1))
        assert image.size == (7, 5)  # it is as it was


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (RGB / 255, r"float64: expected .* of 0\.\.1 make \(255 \* image\)"),
        (RGB.astype(np.float32), "float32: expected"),
        (RGB.astype(np.int64), r"int64: .* image\.astype\('uint8'\)"),
        (RGB > 7, "bool: expected"),
        (np.array([[None]]), "object: expected"),
        (RGB.transpose(2, 0, 1), r"3x5x7: .* image\.transpose\(1, 2, 0\)"),
        (RGB[None], "1x5x7x3: expected one image at a time"),
        (RGB[..., :2], r"5x7x2: expected \[H, W\]"),
        (RGB[0, 0], "of 3: expected"),
        (RGB[:0], "0x7x3: it has no pixels"),
        (np.broadcast_to(np.uint8(0), (50_000, 60_000)), "60000 x 50000 pixels .* refused"),
        (torch.from_numpy(RGB), r"is a Tensor: expected .*\.numpy\(\)"),
        (RGB.tolist(), "is a list: expected a path, a Pillow image, or a numpy array"),
        (None, "is a NoneType"),
        ("absent.png", "absent.png: no such file"),
    ],
)
def test_what_is_no_image_is_refused_with_what_to_do(image, message):
    with pytest.raises(InputError, match=message):
        shown_of(image)
