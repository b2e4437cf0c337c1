"""Which way up a picture is: the EXIF orientation alone, whatever else its block holds and however broken that is.

Read as OpenCV reads it: the first directory's first such entry counts, of which the number is what matters and not the
type; XMP is no EXIF. What is none of 1 to 8 turns nothing.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

_TAG = 0x0112
_PREFIX = b"Exif\0\0"
_TEXTS = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x8298)
_FRACTIONS = {0x011A: 8, 0x011B: 8, 0x013E: 16, 0x013F: 48, 0x0211: 24, 0x0214: 48}
"""Entries of cameras, and bytes of those of resolution and colours: past one that lies outside OpenCV reads nothing."""
_MOST = 2**20
"""Bytes of a block that are looked at."""
_ON_ITS_SIDE = (5, 6, 7, 8)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Layout:
    """The size of a picture as its pixels are stored, and how they are turned to be shown."""

    stored: tuple[int, int]
    """`(H, W)`."""
    orientation: int = 1
    """1 (as stored) to 8, as EXIF numbers them."""

    @property
    def shown(self) -> tuple[int, int]:
        """`(H, W)` once turned."""
        height, width = self.stored
        return (width, height) if self.orientation in _ON_ITS_SIDE else (height, width)


def layout_of(picture: Image.Image) -> Layout:
    """Return the layout of a picture, no TIFF, that was opened and not yet loaded."""
    return Layout((picture.height, picture.width), _orientation(picture))


def turn(picture: Image.Image) -> Image.Image:
    """Load a picture and return it as shown."""
    picture.load()  # of a PNG the block may stand behind the pixels, and newer Pillows turn a TIFF themselves
    turned = _TURNS.get(_orientation(picture))
    return picture if turned is None else picture.transpose(turned)


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn an array `[H, W]` or `[H, W, C]` as `turn` turns a picture."""
    if orientation in _ON_ITS_SIDE:
        pixels = pixels.swapaxes(0, 1)
    down, across = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if down else 1, :: -1 if across else 1])


def read_orientation(block: bytes) -> int:
    """Return the orientation that an EXIF block tells, 1 to 8; 1 where it tells none."""
    block = block.removeprefix(_PREFIX)
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    try:
        magic, start = struct.unpack_from(f"{order}HI", block, 2) if order else (0, 0)
        entries = struct.unpack_from(f"{order}H", block, start)[0] if magic == 42 else 0
        for at in range(start + 2, start + 2 + 12 * entries, 12):
            tag, count, value = struct.unpack_from(f"{order}H2xII", block, at)
            if tag == _TAG:
                return one_of_eight(struct.unpack_from(f"{order}H", block, at + 8)[0])
            room = count if tag in _TEXTS else _FRACTIONS.get(tag, 0)
            if room > 4 and value + room > len(block):
                break
    except struct.error:  # it ends before
        pass
    return 1


def minimal_block(orientation: int) -> bytes:
    """Return an EXIF block that tells an orientation and nothing else."""
    return _PREFIX + b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, _TAG, 3, 1, orientation, 0, 0)


def _orientation(picture: Image.Image) -> int:
    if isinstance(picture, TiffImageFile):
        return one_of_eight(picture.tag_v2.get(_TAG))
    block = picture.info.get("exif") or _late_block(picture)
    return read_orientation(block) if isinstance(block, bytes) else 1


def _late_block(picture: Image.Image) -> bytes:
    """Return the EXIF block of a PNG that stands behind its pixels, which Pillow knows only once it has read them."""
    if not isinstance(picture, PngImageFile) or picture.fp is None:
        return b""
    begin = picture.fp.tell()
    try:
        picture.fp.seek(8)
        while len(head := picture.fp.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"eXIf":
                return picture.fp.read(min(length, _MOST))
            picture.fp.seek(length + 4, os.SEEK_CUR)  # the checksum, too
        return b""
    finally:
        picture.fp.seek(begin)


def one_of_eight(value: object) -> int:
    """Return an orientation; whatever is none is 1."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
