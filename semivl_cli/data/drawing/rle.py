"""COCO's run-length codes -> regions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semivl_cli.errors import InputError


def decode_runs(segmentation: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return the region `[H, W]` of a run-length code: `size` and `counts`, a list of numbers or COCO's text.

    Runs go down the columns and begin with one that is outside.

    Raises:
        InputError: if the runs do not fill `size` exactly.
    """
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(isinstance(side, int) for side in size):
        raise InputError(f"a run-length code has the size {size!r}: expected [height, width]")
    if isinstance(counts, str | bytes):
        runs = _unpack(counts)
    else:
        try:
            runs = np.asarray(counts, np.int64)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError("a run-length code has counts that are no whole numbers") from error
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise InputError(f"a run-length code does not fill its {size[1]} x {size[0]} pixels (width x height)")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)  # [W * H]
    return inside.reshape(size[1], size[0]).T


def _unpack(text: str | bytes) -> NDArray[np.int64]:
    """Return the runs of COCO's text: five bits a character, the lowest first, differences from the third run on."""
    codes = np.frombuffer(text.encode("ascii", "replace") if isinstance(text, str) else text, np.uint8)
    digits = codes.astype(np.int64) - 48
    if not len(digits) or (digits < 0).any() or (digits > 63).any() or digits[-1] & 32:
        raise InputError("a run-length code has text that is not COCO's")
    last = np.flatnonzero((digits & 32) == 0)  # of each number
    first = np.concatenate(([0], last[:-1] + 1))
    length = last - first + 1
    if length.max() > 7:
        raise InputError("a run-length code has text that is not COCO's")
    shift = 5 * (np.arange(len(digits)) - np.repeat(first, length))
    numbers = np.add.reduceat((digits & 31) << shift, first)
    numbers -= np.where(digits[last] & 16, np.int64(1) << (5 * length), 0)
    runs = numbers.copy()
    runs[1::2] = np.cumsum(numbers[1::2])  # each is told as its difference from the run two places before,
    runs[2::2] = np.cumsum(numbers[2::2])  # but for the first three
    return runs
