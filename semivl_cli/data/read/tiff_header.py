"""The first directory of a TIFF, looked at before any decoder takes memory for what it claims."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO

from semivl_cli.errors import InputError

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value of each type."""
_WHOLE = {1: "B", 3: "H", 4: "I", 16: "Q"}
_WIDTH, _HEIGHT, _BITS, _PACKING, _PHOTOMETRIC, _STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _PLANAR, _TILES, _EXTRA = (
    256, 257, 258, 259, 262, 273, 274, 277, 278, 284, 324, 338)  # fmt: skip
_FORMAT = 339
_DIRECTORIES = (0x8769, 0x8825, 0xA005)
"""Tags that lead to further directories, of cameras and positions, which Pillow reads."""
_MOST_VALUES = 64
"""Values of a tag that are looked at: more channels has no picture."""
UNSIGNED, SIGNED, FRACTIONS = 1, 2, 3
"""Formats of numbers."""
GREY_INVERTED, GREY, RGB, YCBCR = 0, 1, 2, 6
"""Photometric interpretations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TiffHeader:
    """What a TIFF says of its first picture."""

    width: int
    height: int
    bits: int
    """Of each number, the most where they differ."""
    samples: int = 1
    """Numbers of a pixel."""
    form: int = UNSIGNED
    photometric: int = GREY
    packing: int = 1
    """How its pixels are packed; 1: they are not."""
    planar: bool = False
    """Whether the channels lie one after the other."""
    alpha: bool = False
    orientation: int = 1
    orientation_at: int | None = None
    """Where the number of the orientation lies in the file."""
    big_endian: bool = False
    cut: bool = False
    """Whether there are not as many pixels in the file; Pillow would show those of absent strips black."""

    def __str__(self) -> str:
        kinds = {UNSIGNED: "whole numbers", SIGNED: "whole numbers", FRACTIONS: "fractions"}
        what = f"a TIFF of {self.samples} channels" if self.samples > 1 else "a grey TIFF"
        apart = ", one channel after the other" if self.planar and self.samples > 1 else ""
        return f"{what} of {kinds.get(self.form, 'complex numbers')} of {self.bits} bits{apart}"


def is_tiff(start: bytes) -> bool:
    """Whether a file that begins so is a TIFF, of 32 or 64 bits."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_tiff_header(file: IO[bytes], size: int) -> TiffHeader:
    """Read the first directory of a TIFF of `size` bytes.

    Raises:
        InputError: it is cut off, claims more values than the file holds, or its size is no size.
    """
    file.seek(0)
    start = file.read(16)
    order = "<" if start[:2] == b"II" else ">"
    big = start[2:4] in (b"+\0", b"\0+")
    first = struct.unpack_from(f"{order}{'Q' if big else 'I'}", start.ljust(16, b"\0"), 8 if big else 4)[0]
    entries = _entries(file, first, order, big, size)
    for tag in _DIRECTORIES:
        if tag in entries:
            _entries(file, _value(file, entries[tag], order, 0), order, big, size)

    def values(tag: int, default: int) -> list[int]:
        return _values(file, entries[tag], order) if tag in entries else [default]

    width, height = values(_WIDTH, 0)[0], values(_HEIGHT, 0)[0]
    if not width or not height:
        raise InputError("it tells no width and height")
    extra = values(_EXTRA, 0)
    orientation = entries.get(_ORIENTATION)
    samples, planar = values(_SAMPLES, 1)[0], values(_PLANAR, 1)[0] == 2
    bits, photometric = max(values(_BITS, 1)), values(_PHOTOMETRIC, GREY)[0]
    strips = -(-height // max(min(values(_ROWS, height)[0], height), 1)) * (samples if planar else 1)
    there = entries[_STRIPS].count if _STRIPS in entries else 0
    packing = values(_PACKING, 1)[0]
    plain = packing == 1 and photometric != YCBCR  # which may have fewer numbers of colour
    return TiffHeader(
        width=width,
        height=height,
        bits=bits,
        samples=samples,
        form=max(values(_FORMAT, UNSIGNED)),
        photometric=photometric,
        packing=packing,
        planar=planar,
        alpha=bool(extra) and extra[0] in (1, 2),
        orientation=_value(file, orientation, order, 1) if orientation else 1,
        orientation_at=orientation.at if orientation else None,
        big_endian=order == ">",
        cut=(_TILES not in entries and there < strips) or (plain and width * height * samples * bits > 8 * size),
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    at: int
    """Where its values begin."""


def _entries(file: IO[bytes], at: int, order: str, big: bool, size: int) -> dict[int, _Entry]:
    """Read a directory; one that claims more than the whole file is a bomb, since each value is read."""
    shape = f"{order}HHQ8s" if big else f"{order}HHI4s"
    width, inline = struct.calcsize(shape), 8 if big else 4
    file.seek(min(at, size))
    head = file.read(8 if big else 2)
    count = int.from_bytes(head, "little" if order == "<" else "big")
    if not count or at + len(head) + count * width > size:
        raise InputError("its directory is cut off")
    block = file.read(count * width)
    entries: dict[int, _Entry] = {}
    claimed = 0
    for number in range(count):
        tag, kind, values, stored = struct.unpack_from(shape, block, number * width)
        room = values * _SIZES.get(kind, 0)
        place = at + len(head) + (number + 1) * width - inline
        if room > inline:
            place = int.from_bytes(stored, "little" if order == "<" else "big")
            claimed += room if place + room <= size else 0  # what lies outside is not read
        entries.setdefault(tag, _Entry(kind, values, place))
    if claimed > size:
        raise InputError("its tags claim more than the file holds")
    return entries


def _values(file: IO[bytes], entry: _Entry, order: str) -> list[int]:
    """Return whole numbers; none where they are something else, or lie outside."""
    kind = _WHOLE.get(entry.kind)
    if kind is None:
        return [0]
    count = min(entry.count, _MOST_VALUES)
    file.seek(entry.at)
    data = file.read(count * _SIZES[entry.kind])
    numbers = list(struct.unpack(f"{order}{count}{kind}", data)) if len(data) == count * _SIZES[entry.kind] else []
    return numbers or [0]


def _value(file: IO[bytes], entry: _Entry, order: str, default: int) -> int:
    numbers = _values(file, entry, order)
    return numbers[0] if numbers else default
