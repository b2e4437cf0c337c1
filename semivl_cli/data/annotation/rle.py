"""Run-length codes -> pixels: COCO's of regions, and Label Studio's of brush strokes, packed by the bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.annotation.polygons import Region
from semivl_cli.documents import Document
from semivl_cli.errors import InputError

_BRUSH_HEADER = 32 + 5 + 4 * 4
_NO_TEXT = "its run-length code is text that is not COCO's"
_BROKEN_BRUSH = "its brush strokes are no run-length code of Label Studio"


class Code(Document):
    """COCO's run-length code of a region: runs that go down the columns and begin with one that is outside."""

    size: list[int]
    """`[height, width]`."""
    counts: list[int] | str
    """The runs as numbers, or in COCO's text."""


def decode_rle(code: Code, size: tuple[int, int]) -> Region:
    """Return the region of an image of `(H, W)`, cut to the columns that it covers.

    Raises:
        InputError: if the code is of another size, or its runs do not fill it exactly.
    """
    height, width = size
    if code.size != [height, width]:
        told = f"{code.size[1]} x {code.size[0]}" if len(code.size) == 2 else f"{code.size}"
        raise InputError(f"its run-length code is {told[:60]} pixels (width x height), the image is {width} x {height}")
    runs = _unpack(code.counts) if isinstance(code.counts, str) else _whole(code.counts)
    pixels = height * width
    if runs.min(initial=0) < 0 or runs.max(initial=0) > pixels or runs.sum() != pixels:
        raise InputError(f"its run-length code does not fill its {width} x {height} pixels (width x height)")
    ends = np.cumsum(runs[: len(runs) // 2 * 2])  # the last run that counts is inside
    if not len(ends):
        return np.zeros((height, 0), np.bool_), (0, 0)
    left, right = int(ends[0]) // height, -(-int(ends[-1]) // height)
    part = np.diff(ends - left * height, prepend=0, append=(right - left) * height)
    inside = np.repeat(np.arange(len(part)) % 2 == 1, part)  # [w * H]
    return inside.reshape(right - left, height).T, (0, left)


def _whole(counts: list[int]) -> NDArray[np.int64]:
    try:
        return np.array(counts, np.int64)
    except OverflowError as error:
        raise InputError("its run-length code has a run longer than any image") from error


def _unpack(text: str) -> NDArray[np.int64]:
    """Return the runs of COCO's text: five bits a character, the lowest first, differences from the third run on."""
    codes = np.frombuffer(text.encode("ascii", "replace"), np.uint8)
    digits = codes.astype(np.int64) - 48
    if not len(digits) or (digits < 0).any() or (digits > 63).any() or digits[-1] & 32:
        raise InputError(_NO_TEXT)
    last = np.flatnonzero((digits & 32) == 0)  # of each number
    first = np.concatenate(([0], last[:-1] + 1))
    length = last - first + 1
    if length.max() > 7:
        raise InputError(_NO_TEXT)
    shift = 5 * (np.arange(len(digits)) - np.repeat(first, length))
    numbers = np.add.reduceat((digits & 31) << shift, first)
    numbers -= np.where(digits[last] & 16, np.int64(1) << (5 * length), 0)
    runs = numbers.copy()
    runs[1::2] = np.cumsum(numbers[1::2])  # each is told as its difference from the run two places before,
    runs[2::2] = np.cumsum(numbers[2::2])  # but for the first three
    return runs


def decode_brush(packed: Sequence[int], length: int) -> NDArray[np.uint8]:
    """Unpack bytes 0..255 to `length` numbers of 8 bits.

    The code begins with the length (32 bits), the width of a number less one (5) and four widths of counts less one
    (4 each). Then follow blocks: a bit that says whether one number repeats, two bits that choose the width of the
    count, the count less one, and the number that repeats, or as many numbers as were counted.

    Raises:
        InputError: if it is broken, or has another length.
    """
    try:
        data = np.array(packed, np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{_BROKEN_BRUSH}: it holds what is no number") from error
    if data.ndim != 1 or (data < 0).any() or (data > 255).any():
        raise InputError(f"{_BROKEN_BRUSH}: it holds what is no byte 0..255")
    bits = np.unpackbits(data.astype(np.uint8))
    if len(bits) < _BRUSH_HEADER:
        raise InputError(f"{_BROKEN_BRUSH}: it ends in its header")
    covered, width = _number(bits, 0, 32), _number(bits, 32, 5) + 1
    if covered != length:
        raise InputError(f"its brush strokes cover {covered // 4} pixels, the image has {length // 4}")
    if width != 8:
        raise InputError(f"{_BROKEN_BRUSH}: its numbers have {width} bits, expected 8")
    widths = [_number(bits, 37 + 4 * number, 4) + 1 for number in range(4)]
    result = np.empty(length, np.uint8)
    at, done = _BRUSH_HEADER, 0
    while done < length:
        if at + 3 > len(bits):
            raise InputError(f"{_BROKEN_BRUSH}: it ends after {done} of {length} numbers")
        repeats, count_width = bits[at], widths[_number(bits, at + 1, 2)]
        count = _number(bits, at + 3, count_width) + 1
        at += 3 + count_width
        end = at + (8 if repeats else 8 * count)
        if end > len(bits) or done + count > length:
            raise InputError(f"{_BROKEN_BRUSH}: it ends after {done} of {length} numbers")
        result[done : done + count] = np.packbits(bits[at:end])
        at, done = end, done + count
    return result


def _number(bits: NDArray[np.uint8], at: int, width: int) -> int:
    return int.from_bytes(np.packbits(bits[at : at + width]).tobytes(), "big") >> (-width % 8)
