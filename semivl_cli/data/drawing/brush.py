"""Label Studio's brush strokes: run-length codes packed by the bit -> numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semivl_cli.errors import InputError

_HEADER = 32 + 5 + 4 * 4
_BROKEN = "its brush strokes are no run-length code of Label Studio"


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
        raise InputError(f"{_BROKEN}: it holds what is no number") from error
    if data.ndim != 1 or (data < 0).any() or (data > 255).any():
        raise InputError(f"{_BROKEN}: it holds what is no byte 0..255")
    bits = np.unpackbits(data.astype(np.uint8))
    if len(bits) < _HEADER:
        raise InputError(f"{_BROKEN}: it ends in its header")
    told, width = _number(bits, 0, 32), _number(bits, 32, 5) + 1
    if told != length:
        raise InputError(f"its brush strokes cover {told // 4} pixels, the image has {length // 4}")
    if width != 8:
        raise InputError(f"{_BROKEN}: its numbers have {width} bits, expected 8")
    widths = [_number(bits, 37 + 4 * place, 4) + 1 for place in range(4)]
    result = np.empty(length, np.uint8)
    at, done = _HEADER, 0
    while done < length:
        if at + 3 > len(bits):
            raise InputError(f"{_BROKEN}: it ends after {done} of {length} numbers")
        repeats, count_width = bits[at], widths[_number(bits, at + 1, 2)]
        count = _number(bits, at + 3, count_width) + 1
        at += 3 + count_width
        end = at + (8 if repeats else 8 * count)
        if end > len(bits) or done + count > length:
            raise InputError(f"{_BROKEN}: it ends after {done} of {length} numbers")
        result[done : done + count] = np.packbits(bits[at:end])
        at, done = end, done + count
    return result


def _number(bits: NDArray[np.uint8], at: int, width: int) -> int:
    return int.from_bytes(np.packbits(bits[at : at + width]).tobytes(), "big") >> (-width % 8)
