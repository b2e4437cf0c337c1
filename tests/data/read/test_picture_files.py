import io
import os
import random
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from semivl_cli.data.read.images import image_size, read_image, read_raw_label, read_thumbnail
from semivl_cli.data.read.picture_files import decoding, open_picture
from semivl_cli.errors import InputError

FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}


def tiff(pixels, order="<", photometric=None, planar=1, orientation=None, size=None, rows=None, more=()):
    """Return a TIFF `[H, W, C]` of any type, as programs of science write it: one strip a plane, nothing packed."""
    pixels = np.atleast_3d(pixels)
    height, width, channels = pixels.shape
    planes = (pixels if planar == 1 else pixels.transpose(2, 0, 1)).astype(pixels.dtype.newbyteorder(order)).tobytes()
    strips = channels if planar == 2 else 1
    meaning = (2 if channels >= 3 else 1) if photometric is None else photometric
    shown = size or (height, width)
    tags = [
        (256, 4, [shown[1]]), (257, 4, [shown[0]]), (258, 3, [pixels.dtype.itemsize * 8] * channels), (259, 3, [1]),
        (262, 3, [meaning]), (273, 4, [0] * strips), (277, 3, [channels]), (278, 4, [rows or shown[0]]),
        (279, 4, [len(planes) // strips] * strips), (284, 3, [planar]),
        (339, 3, [FORMATS[pixels.dtype.kind]] * channels), *([(274, 3, [orientation])] if orientation else []), *more,
    ]  # fmt: skip
    tags.sort()
    room = {3: ("H", 2), 4: ("I", 4)}
    far = 8 + 2 + 12 * len(tags) + 4
    begin = far + sum(len(values) * room[kind][1] for _, kind, values in tags if len(values) * room[kind][1] > 4)
    entries, beyond = b"", b""
    for tag, kind, given in tags:
        values = [begin + strip * (len(planes) // strips) for strip in range(strips)] if tag == 273 else given
        raw = struct.pack(f"{order}{len(values)}{room[kind][0]}", *values)
        place = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack(f"{order}I", far + len(beyond))
        beyond += raw if len(raw) > 4 else b""
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + place
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return head + entries + bytes(4) + beyond + planes


def numbers(kind, channels=1, most=100):
    random_ = np.random.default_rng(1)
    made = random_.random((4, 6, channels)) if kind[0] in "fc" else random_.integers(0, most, (4, 6, channels))
    return made.astype(kind)


def written(folder, data, name="a.tif"):
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u2", "i2", "u4", "i4", "u8", "i8"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_whole_numbers_look_the_same_in_any_tiff(tmp_path, order, kind, channels):
    pixels = numbers(kind, channels, 30000)
    path = written(tmp_path, tiff(pixels, order))
    assert read_image(path).tolist() == np.broadcast_to(np.rint(pixels[..., :3] / 257), (4, 6, 3)).tolist()
    assert image_size(path) == read_thumbnail(path).size == (4, 6)


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
def test_fractions_are_shares_of_white_in_any_tiff(tmp_path, kind, order, channels):
    pixels = numbers(kind, channels)
    shown = read_image(written(tmp_path, tiff(pixels, order)))
    assert np.abs(shown - pixels * 255).max() <= 0.5001


@pytest.mark.parametrize("kind", ["u1", "u2", "i2", "u4", "i4"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_masks_of_any_whole_numbers_are_masks(tmp_path, kind, order):
    pixels = numbers(kind, most=200)
    assert np.array_equal(read_raw_label(written(tmp_path, tiff(pixels, order))), pixels[..., 0])


def test_a_mask_below_0_is_not_taken_for_255(tmp_path):
    assert read_raw_label(written(tmp_path, tiff(np.array([[-1, 3]], np.int8)))).tolist() == [[-1, 3]]


UNREADABLE = {
    "5 channels of whole numbers of 16 bits": tiff(numbers("u2", 5)),
    "2 channels of whole numbers of 16 bits": tiff(numbers("u2", 2)),
    "3 channels of fractions of 32 bits, one channel after the other": tiff(numbers("f4", 3), planar=2),
    "3 channels of whole numbers of 16 bits, one": tiff(numbers("i2", 3), planar=2),
    "a grey TIFF of fractions of 16 bits": tiff(numbers("f2")),
    "3 channels of complex numbers of 64 bits": tiff(numbers("c8", 3)),
    "a grey TIFF of complex numbers of 128": tiff(numbers("c16")),
    "4 channels of whole numbers of 16 bits": tiff(numbers("u2", 4), photometric=1),
    "TIFF of 3 channels of whole numbers of 16 bits": tiff(numbers("u2", 3), photometric=8),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_no_decoder_reads_right_is_named(tmp_path, what):
    path = written(tmp_path, UNREADABLE[what])
    for read in (read_image, read_thumbnail, read_raw_label):
        with pytest.raises(InputError, match=rf"^{path}: it is .*{what}"):
            read(path)


@pytest.mark.parametrize("packing", [34712, 34892, 65000])
@pytest.mark.parametrize(("kind", "channels"), [("u1", 1), ("u1", 3), ("u2", 1)])
def test_pixels_that_are_packed_as_nobody_reads_are_not_shown_black(tmp_path, packing, kind, channels):
    data = bytearray(tiff(numbers(kind, channels)))
    struct.pack_into("<H", data, data.index(struct.pack("<HHI", 259, 3, 1)) + 8, packing)
    with pytest.raises(InputError, match=rf"packed in a way that is not read here \(TIFF compression {packing}\)"):
        read_image(written(tmp_path, bytes(data)))


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("orientation", range(1, 10))
def test_a_turned_tiff_is_turned_once(tmp_path, kind, orientation):
    pixels = numbers(kind, 3)
    path, plain = (written(tmp_path, tiff(pixels, orientation=turns), f"{turns}.tif") for turns in (orientation, None))
    shown, stored = read_image(path), read_image(plain)
    turned = {
        2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.swapaxes(0, 1),
        6: stored.swapaxes(0, 1)[:, ::-1], 7: stored.swapaxes(0, 1)[::-1, ::-1], 8: stored.swapaxes(0, 1)[::-1],
    }.get(orientation, stored)  # fmt: skip
    assert np.array_equal(shown, turned)
    assert image_size(path) == read_thumbnail(path).size == shown.shape[:2]


def test_zero_may_be_white(tmp_path):
    pixels = numbers("u2", most=60000)
    plain, inverted = (read_image(written(tmp_path, tiff(pixels, photometric=meaning))) for meaning in (1, 0))
    assert np.abs(plain.astype(int) + inverted - 255).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_16_bits_keep_all_of_them(tmp_path, suffix, channels):
    pixels = np.random.default_rng(0).integers(0, 1024, (5, 6, channels), np.uint16)  # a camera of 10 bits
    pixels[..., 3:] = 65535
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), pixels[..., [2, 1, 0, 3][:channels]])
    assert read_image(path, (0, 1023)).tolist() == np.rint(pixels[..., :3] * (255 / 1023)).tolist()


def test_transparent_pixels_of_16_bits_are_laid_on_black(tmp_path):
    pixels = np.full((1, 2, 4), 65535, np.uint16)
    pixels[0, 1, 3] = 0
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    assert read_image(tmp_path / "a.png").tolist() == [[[255] * 3, [0] * 3]]


def test_large_pictures_are_converted_in_parts(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 30, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    whole = read_image(tmp_path / "a.png")
    monkeypatch.setattr("semivl_cli.data.read.picture_files._AT_ONCE", 100)
    assert np.array_equal(read_image(tmp_path / "a.png"), whole)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(before=b"", after=b""):
    buffer = io.BytesIO()
    Image.fromarray(numbers("u1", 3)).save(buffer, "PNG")
    data = buffer.getvalue()
    return data[:33] + before + data[33:-12] + after + data[-12:]


LARGE = zlib.compress(bytes(70 * 2**20))
METADATA = {
    "a text that unpacks to 70 MiB": chunk(b"zTXt", b"Comment\0\0" + LARGE),
    "an international one": chunk(b"iTXt", b"Comment\0\1\0\0\0" + LARGE),
    "a profile likewise": chunk(b"iCCP", b"icc\0\0" + LARGE),
    "a broken text": chunk(b"zTXt", b"Comment\0\0nonsense"),
    "a wrong checksum": chunk(b"tEXt", b"a\0b")[:-4] + b"abcd",
}


@pytest.mark.parametrize("what", METADATA)
@pytest.mark.parametrize("place", ["before", "after"])
def test_texts_and_profiles_do_not_matter(what, place):
    shown = open_picture(png(**{place: METADATA[what]}), "a.png", lambda picture: picture.shown()[0])
    assert np.array_equal(shown, numbers("u1", 3))


def claiming(kind, height, width):
    """Return a small file that claims to be large."""
    buffer = io.BytesIO()
    Image.fromarray(numbers("u1", 3)).save(buffer, kind)
    data = bytearray(buffer.getvalue())
    at, shape, sizes = {
        "PNG": (16, ">II", (width, height)),
        "BMP": (18, "<ii", (width, height)),
        "GIF": (6, "<HH", (width, height)),
        "TGA": (12, "<HH", (width, height)),
        "SGI": (6, ">HH", (width, height)),
    }[kind]
    struct.pack_into(shape, data, at, *sizes)
    if kind == "PNG":
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TGA", "SGI"])
def test_a_size_is_refused_before_memory_is_taken(kind):
    with pytest.raises(InputError, match=r"^a: 60000 x 50000 pixels .*SEMIVL_MAX_MEGAPIXELS"):
        open_picture(claiming(kind, 50_000, 60_000), "a", lambda picture: picture.shown())


@pytest.mark.parametrize("kind", ["u1", "u2", "f4", "f8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_size_of_a_tiff_is_refused_before_memory_is_taken(kind, channels):
    data = tiff(numbers(kind, channels), size=(50_000, 60_000))
    with pytest.raises(InputError, match=r"^a: 60000 x 50000 pixels .*SEMIVL_MAX_MEGAPIXELS"):
        open_picture(data, "a", lambda picture: picture.shown())


def test_a_tiff_whose_pixels_are_not_all_there_is_refused(tmp_path):
    whole = tiff(numbers("u2"))
    for data in (whole[:-3], tiff(numbers("u2"), size=(40, 6)), tiff(numbers("u2"), size=(9, 6), rows=4)):
        with pytest.raises(InputError, match=r"the image cannot be read .*(cut off|truncated)"):
            read_image(written(tmp_path, data))
    many = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    for packing in (None, "tiff_lzw", "packbits", "tiff_deflate"):
        many.save(tmp_path / "b.tif", compression=packing, strip_size=512)
        assert np.array_equal(read_image(tmp_path / "b.tif")[..., 0], np.asarray(many))


def test_a_tiff_whose_tags_claim_more_than_its_bytes_is_refused():
    pixels = tiff(numbers("u1"))
    entries = b"".join(struct.pack("<HHII", tag, 1, 60_000, 8) for tag in range(1, 5000))
    data = b"II*\0" + struct.pack("<IH", 8, 4999) + entries + bytes(4) + bytes(60_000)
    with pytest.raises(InputError, match="claim more than the file holds"):
        open_picture(data, "a", lambda picture: picture.shown())
    looped = pixels[: 8 + 2 + 12 * 11] + struct.pack("<I", 8) + pixels[8 + 2 + 12 * 11 + 4 :]
    assert open_picture(looped, "a", lambda picture: picture.shown()[0].shape) == (4, 6, 3)  # the first of endless


def test_what_would_run_another_program_is_no_picture(tmp_path):
    path = written(tmp_path, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n", "a.png")
    with pytest.raises(InputError, match="EPS is no format of pictures"):
        read_image(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match="device or a pipe"):
        read_image(tmp_path / "a.png")


def test_memory_that_is_short_is_one_bad_file():
    with pytest.raises(InputError, match=r"^a: .*memory is short"), decoding("a"):
        raise MemoryError


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "TGA", "SGI", "PCX", "ICO", "DDS"]
)
def test_damage_anywhere_is_one_line(kind):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)).save(buffer, kind)
    sound, chance = buffer.getvalue(), random.Random(kind)
    for _ in range(40):
        data = bytearray(sound)
        for _ in range(chance.choice((1, 1, 4, 16))):
            data[chance.randrange(min(len(data), chance.choice((64, len(data)))))] = chance.choice(
                (0, 255, 127, 1, 128)
            )
        for work in (lambda picture: picture.shown(), lambda picture: picture.whole_numbers()):
            try:
                open_picture(bytes(data), "a", work)
            except InputError as error:
                assert str(error).startswith("a: ")
                assert "\n" not in str(error)
