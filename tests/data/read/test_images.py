import io
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.data.contract import Record
from semivl_cli.data.read.images import (
    image_layout,
    image_size,
    read_image,
    read_label,
    read_pair,
    read_raw_label,
    read_shown,
    read_thumbnail,
)
from semivl_cli.errors import InputError

NAMES = ("ground", "tree", "car")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_lossless_formats_come_back_as_they_were(tmp_path, suffix):
    pixels, path = noise(7, 11, 3), tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(read_image(path), pixels)
    assert image_size(path) == read_thumbnail(path)[0] == (7, 11)


def test_jpeg_and_gif_are_read(tmp_path):
    pixels = np.full((16, 24, 3), (200, 100, 50), np.uint8)
    for suffix in ("jpg", "gif"):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(pixels).save(path)
        assert np.abs(read_image(path).astype(int) - pixels).max() <= 2


def test_the_first_frame_of_a_gif_counts(tmp_path):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "LA", "RGBA"])
def test_any_mode_becomes_rgb(tmp_path, mode):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16] = 255
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(pixels).convert(mode).save(path)
    assert np.abs(read_image(path).astype(int) - pixels).max() <= 2


@pytest.mark.parametrize("palette", [False, True])
def test_transparent_pixels_are_laid_on_black(tmp_path, palette):
    if palette:
        picture = Image.fromarray(np.array([[0, 1]], np.uint8))
        picture.putpalette([255, 0, 0, 0, 255, 0])
        picture.save(tmp_path / "a.png", transparency=bytes([255, 0]))
    else:
        Image.fromarray(np.array([[[255, 0, 0, 255], [0, 255, 0, 0]]], np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[255, 0, 0], [0, 0, 0]]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_divided_by_257(tmp_path, suffix, channels):
    pixels = np.repeat(noise(5, 6, 1), channels, axis=2)
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), pixels.astype(np.uint16) * 257)
    assert np.array_equal(read_image(path), np.repeat(pixels[..., :1], 3, axis=2))


@pytest.mark.parametrize("channels", [1, 3])
def test_floats_up_to_one_are_multiplied_by_255(tmp_path, channels):
    pixels = noise(5, 6, channels)
    cv2.imwrite(str(tmp_path / "a.tif"), pixels[..., ::-1].astype(np.float32) / 255)
    assert np.array_equal(read_image(tmp_path / "a.tif"), np.broadcast_to(pixels, (5, 6, 3)))
    assert image_size(tmp_path / "a.tif") == read_thumbnail(tmp_path / "a.tif")[0] == (5, 6)


def test_numbers_that_no_type_explains_need_a_range(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([[-10, 30, np.nan, np.inf]], np.float32)).save(path)
    with pytest.raises(InputError, match=r"a\.tif: its numbers are -10 to 30, expected 0\.\.1.*value_range"):
        read_image(path)
    assert read_image(path, (-10, 30))[0, :, 0].tolist() == [0, 255, 64, 64]
    assert read_thumbnail(path, (-10, 30)).size == (1, 4)


def test_images_of_little_range_are_told(tmp_path):
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    for name, pixels in (
        ("dark", (ramp * 4095).astype(np.uint16)),
        ("full", (ramp * 40000).astype(np.uint16)),
        ("8", (ramp * 9).astype(np.uint8)),
    ):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    assert [read_shown(tmp_path / f"{name}.png").faint for name in ("dark", "full", "8")] == [True, False, False]
    assert read_thumbnail(tmp_path / "dark.png").faint
    assert not read_shown(tmp_path / "dark.png", (0, 4095)).faint


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_read_as_shown(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :16] = 255  # top left as stored
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(stored).save(path, exif=exif)
    shown = read_image(path)
    assert shown.shape[:2] == image_size(path) == read_thumbnail(path)[0] == ((16, 32) if orientation < 5 else (32, 16))
    # The EXIF standard: where row 0 and column 0 of the file are shown.
    top = orientation in (1, 2, 5, 6)
    left = orientation in (1, 4, 5, 8)
    corner = shown[2 if top else -3, 2 if left else -3]
    assert corner.min() > 200
    assert shown[2 if not top else -3].max() < 50


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"]), share=st.floats(0, 0.95), flip=st.booleans()
)
def test_a_broken_file_is_one_line_that_names_it(tmp_path, kind, share, flip):
    buffer = io.BytesIO()
    Image.fromarray(noise(40, 40, 3)).save(buffer, kind)
    data = bytearray(buffer.getvalue())
    if flip:
        data[int(share * len(data))] ^= 0xFF
    else:
        data = data[: int(share * len(data))]
    path = tmp_path / "broken.img"
    path.write_bytes(data)
    for read in (read_image, read_thumbnail, read_raw_label, image_size):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of broken metadata beside sound pixels
            try:
                read(path)
            except InputError as error:
                assert str(path) in str(error)
                assert "\n" not in str(error)
            else:
                assert flip or share > 0.01 or read is image_size


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("read", [read_image, read_thumbnail])
def test_a_truncated_file_is_refused(tmp_path, kind, read):
    buffer = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(buffer, kind)
    (tmp_path / "cut").write_bytes(buffer.getvalue()[:-2000])
    with pytest.raises(InputError, match="cut: the image cannot be read"):
        read(tmp_path / "cut")


def test_a_thumbnail_for_which_memory_is_short_is_one_bad_file(tmp_path, monkeypatch):
    def short(*_):
        raise MemoryError

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "fromarray", short)
    with pytest.raises(InputError, match=r"a\.png: .*memory is short"):
        read_thumbnail(tmp_path / "a.png")


def test_what_is_no_image_is_said(tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    for path, reason in (
        (tmp_path / "text.jpg", "not an image"),
        (tmp_path / "empty.jpg", "is empty"),
        (tmp_path, "is a folder"),
        (tmp_path / "absent.jpg", "no such file"),
    ):
        for read in (read_image, image_size, read_thumbnail, read_raw_label):
            with pytest.raises(InputError, match=reason):
                read(path)


def test_many_pixels_are_fine_and_too_many_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    Image.new("1", (20_000, 10_000)).save(path)  # 200 megapixels: beyond Pillow's own limit
    assert image_size(path) == (10_000, 20_000)
    monkeypatch.setenv("SEMIVL_MAX_MEGAPIXELS", "199")
    for read in (read_image, image_size, read_thumbnail, read_raw_label):
        with pytest.raises(InputError, match=r"20000 x 10000 pixels .*: more than 199 megapixels: refused"):
            read(path)


def test_a_function_is_called_for_its_pixels():
    pixels = noise(4, 5, 3)
    assert read_image(lambda: pixels) is pixels
    assert image_size(lambda: pixels) == image_layout(lambda: pixels).stored == (4, 5)


def mask_record(path: Path) -> Record:
    return Record(id="a", image=path, label=path)


@pytest.mark.parametrize("mode", ["P", "L", "I;16", "1"])
def test_masks_of_one_channel_keep_their_raw_values(tmp_path, mode):
    values = np.array([[0, 1], [1, 0]], np.uint8)
    path = tmp_path / "m.png"
    if mode == "P":
        picture = Image.fromarray(values)
        picture.putpalette([90, 80, 70, 255, 0, 0])
    elif mode == "I;16":
        picture = Image.fromarray(values.astype(np.uint16))
    else:
        picture = Image.fromarray(values * 255 if mode == "1" else values).convert(mode)
    picture.save(path)
    assert read_label(mask_record(path), Folder(), NAMES).tolist() == values.tolist()


def test_a_16_bit_mask_does_not_wrap_round(tmp_path):
    Image.fromarray(np.array([[0, 257]], np.uint16)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="value 257 "):
        read_label(mask_record(tmp_path / "m.png"), Folder(), NAMES)


class Counted:
    """A plugin that gives class ids as NumPy counts: 64 bits with a sign."""

    name = "counted"

    def class_ids(self, raw):
        return raw.astype(np.int64) - 1


def test_class_ids_of_any_whole_number_type_are_bytes_and_do_not_wrap_round(tmp_path):
    Image.fromarray(np.array([[1, 2]], np.uint8)).save(tmp_path / "m.png")
    label = read_label(mask_record(tmp_path / "m.png"), Counted(), NAMES)
    assert label.dtype == np.uint8 and label.tolist() == [[0, 1]]
    Image.fromarray(np.array([[1, 0]], np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="value 0 "):
        read_label(mask_record(tmp_path / "m.png"), Counted(), NAMES)


@pytest.mark.parametrize("mode", ["RGB", "LA", "F"])
def test_a_mask_of_colours_or_fractions_is_refused(tmp_path, mode):
    path = tmp_path / "m.tif"
    Image.new(mode, (3, 2)).save(path)
    with pytest.raises(InputError, match=rf"m\.tif: a mask has one channel of whole numbers, this one is {mode}"):
        read_raw_label(path)


def test_an_unknown_value_is_named_with_its_pixels_and_the_classes(tmp_path):
    Image.fromarray(np.array([[0, 255, 7], [7, 9, 2]], np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(
        InputError, match=r"m\.png: value 7 \(2 pixels\) is no class; .* 0 ground, 1 tree, 2 car; 255 is ig"
    ):
        read_label(mask_record(tmp_path / "m.png"), Folder(), NAMES)


def test_image_and_mask_must_have_one_size(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    Image.new("L", (20, 30)).save(tmp_path / "m.png")
    record = Record(id="a", image=tmp_path / "a.png", label=tmp_path / "m.png")
    with pytest.raises(InputError, match=r"m\.png: the mask is 20 x 30 .* its image as shown is 30 x 20"):
        read_pair(record, Folder(), NAMES)
