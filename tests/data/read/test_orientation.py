import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from semivl_cli.data.read.orientation import Layout, layout_of, read_orientation, turn
from semivl_cli.data.read.picture_files import open_picture

SIDEWAYS = struct.Struct("<H").pack(6)


def entry(order: str, tag: int, kind: int, count: int, value: bytes) -> bytes:
    return struct.pack(f"{order}HHI", tag, kind, count) + value[:4].ljust(4, b"\0")


def block(order: str, *entries: bytes, count: int | None = None, rest: bytes = b"") -> bytes:
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8)
    number = len(entries) if count is None else count
    return b"Exif\0\0" + head + struct.pack(f"{order}H", number) + b"".join(entries) + bytes(4) + rest


def jpeg_with(exif: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 32, 3), np.uint8)).save(buffer, "JPEG")
    data = buffer.getvalue()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def shown_by_opencv(data: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def shown(data: bytes) -> np.ndarray:
    return open_picture(data, "it", lambda picture: picture.shown()[0])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", [*range(10), 65535])
def test_all_numbers_are_turned_as_opencv_turns_them(order, value):
    data = jpeg_with(block(order, entry(order, 0x112, 3, 1, struct.pack(f"{order}H", value))))
    assert np.abs(shown(data).astype(int) - shown_by_opencv(data)).max() <= 2  # two decoders round


# What cameras and programs really write, and what rounds off the kind: type 7 is undefined, 10 a fraction below 0.
UNUSUAL = {
    "exposure bias of -2/0": (
        entry("<", 0x112, 3, 1, SIDEWAYS),
        entry("<", 0x8769, 4, 1, struct.pack("<I", 38)),
        entry("<", 0x9204, 10, 1, struct.pack("<I", 56)),
    ),
    "width as text": (entry("<", 0x100, 2, 4, b"abc"), entry("<", 0x112, 3, 1, SIDEWAYS)),
    "bits below 0": (entry("<", 0x102, 8, 1, b"\xfb\xff"), entry("<", 0x112, 3, 1, SIDEWAYS)),
    "width as a fraction": (entry("<", 0x100, 11, 1, b"\0\0\xc0\x3f"), entry("<", 0x112, 3, 1, SIDEWAYS)),
    "a byte": (entry("<", 0x112, 1, 1, b"\6"),),
    "32 bits": (entry("<", 0x112, 4, 1, b"\6"),),
    "32 bits, big-endian": (entry("<", 0x112, 4, 1, b"\0\0\0\6"),),
    "undefined": (entry("<", 0x112, 7, 1, b"\6"),),
    "text": (entry("<", 0x112, 2, 2, b"6"),),
    "a float": (entry("<", 0x112, 11, 1, struct.pack("<f", 6)),),
    "two numbers": (entry("<", 0x112, 3, 2, SIDEWAYS * 2),),
    "no number": (entry("<", 0x112, 3, 0, SIDEWAYS),),
    "an unknown type": (entry("<", 0x112, 99, 1, SIDEWAYS),),
    "twice": (entry("<", 0x112, 3, 1, SIDEWAYS), entry("<", 0x112, 3, 1, b"\1")),
    "out of order": (entry("<", 0x131, 2, 3, b"ab"), entry("<", 0x112, 3, 1, SIDEWAYS)),
    "an endless sub-directory": (entry("<", 0x112, 3, 1, SIDEWAYS), entry("<", 0x8769, 4, 1, b"\x08")),
    "a thumbnail outside": (entry("<", 0x112, 3, 1, SIDEWAYS), entry("<", 0x201, 4, 1, b"\xff\xff\xff\x7f")),
    "a resolution of text": (entry("<", 0x112, 3, 1, SIDEWAYS), entry("<", 0x11A, 2, 1, b"")),
    "a resolution of one number": (entry("<", 0x112, 3, 1, SIDEWAYS), entry("<", 0x11A, 1, 1, b"\1")),
    "a name of the maker outside": (entry("<", 0x10F, 2, 50, b"\xff\xff\xff\x7f"), entry("<", 0x112, 3, 1, SIDEWAYS)),
    "a resolution outside": (entry("<", 0x11A, 5, 1, b"\xff\xff"), entry("<", 0x112, 3, 1, SIDEWAYS)),
    "a text outside": (entry("<", 0x112, 3, 1, SIDEWAYS), entry("<", 0x131, 2, 50, b"\xff\xff\xff\x7f")),
}


@pytest.mark.parametrize("entries", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_blocks_turn_as_opencv_turns_them(entries):
    data = jpeg_with(block("<", *entries))
    assert np.abs(shown(data).astype(int) - shown_by_opencv(data)).max() <= 2


def test_what_other_entries_hold_does_not_matter():
    outside = entry("<", 0x100, 2, 2**31, b"\xff\xff\xff\x7f")
    assert read_orientation(block("<", outside, entry("<", 0x112, 3, 1, SIDEWAYS), count=500)) == 6
    assert read_orientation(block("<", entry("<", 0x112, 3, 1, SIDEWAYS), count=0)) == 1
    assert read_orientation(b"Exif\0\0II*\0\xff\xff\xff\xff") == 1


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_an_orientation(data, plausible):
    assert 1 <= read_orientation(b"Exif\0\0MM\0*\0\0\0\x08" * plausible + data) <= 8


def test_xmp_turns_nothing():
    data = jpeg_with(b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>')
    assert shown(data).shape == shown_by_opencv(data).shape == (16, 32, 3)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_formats_have_the_block_too(kind):
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x112] = 6
    Image.new("RGB", (32, 16)).save(buffer, kind, exif=exif)
    with Image.open(buffer) as picture:
        assert layout_of(picture) == Layout((16, 32), 6)
        assert layout_of(picture).shown == (32, 16)
        assert turn(picture).size == (16, 32)


def test_a_png_may_tell_it_behind_its_pixels():
    buffer = io.BytesIO()
    Image.new("RGB", (32, 16)).save(buffer, "PNG")
    exif = block(">", entry(">", 0x112, 3, 1, b"\0\6")).removeprefix(b"Exif\0\0")
    chunk = b"eXIf" + exif
    whole = struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = buffer.getvalue()
    late = data[:-12] + whole + data[-12:]
    assert shown(late).shape == shown_by_opencv(late).shape == (32, 16, 3)
    with Image.open(io.BytesIO(late)) as picture:
        assert layout_of(picture) == Layout((16, 32), 6)
        assert turn(picture).size == (16, 32)
