"""Numbers of any type -> 0..255, by one rule for all images: the range of their type, or one that the user tells.

An image's own smallest and largest number never count: a dark frame of a series stays dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semivl_cli.errors import InputError

ValueRange = Sequence[float]
"""The numbers that are shown black and white; of images of 8 bits it does not count."""

_SLACK = 1 / 510
"""How far fractions may lie outside of 0..1: resizing leaves such, and they are shown as 0 or 255 anyway."""
_ROWS = 2**22
"""Numbers that are brought to bytes at once."""


def to_bytes(numbers: NDArray[Any], value_range: ValueRange | None = None) -> NDArray[np.uint8]:
    """Bring numbers of any type and byte order to 0..255.

    Bytes stay. With a `value_range` its ends become 0 and 255. Without one 0..65535 does, whatever holds the numbers
    (16 bits with or without a sign, or more bits), or 0..1 where they are fractions. NaN and infinity become 0.

    Raises:
        InputError: numbers lie outside of that, so that only the user can tell what they mean.
    """
    if numbers.dtype == np.uint8:
        return numbers
    if numbers.dtype == np.int8 and numbers.min() >= 0:
        return numbers.view(np.uint8)
    if numbers.dtype.kind not in "iuf":
        raise InputError(f"its numbers are of the type {numbers.dtype}: expected whole numbers or fractions")
    result = np.empty(numbers.shape, np.uint8)
    rows = max(_ROWS // max(numbers[:1].size, 1), 1)
    for top in range(0, len(numbers), rows):
        result[top : top + rows] = _shown(numbers[top : top + rows], value_range)
    return result


def to_rgb(numbers: NDArray[Any], value_range: ValueRange | None = None, *, alpha: bool = True) -> NDArray[np.uint8]:
    """Bring grey `[H, W]` or `[H, W, 1]`, RGB or RGBA of any type to uint8 RGB `[H, W, 3]`, as `to_bytes` does.

    Transparent pixels are laid on black, unless the fourth channel is no `alpha`, which leaves it out.
    """
    channels = numbers if numbers.ndim == 3 else numbers[..., None]
    colors = to_bytes(channels[..., :3], value_range)
    if colors.shape[2] == 1:
        colors = np.repeat(colors, 3, axis=2)
    if channels.shape[2] == 4 and alpha:
        colors = ((colors.astype(np.uint16) * to_bytes(channels[..., 3:]) + 127) // 255).astype(np.uint8)
    return colors


def is_faint(numbers: NDArray[Any], value_range: ValueRange | None = None) -> bool:
    """Whether numbers of more than 8 bits use less than a sixteenth of their range: they look like a single grey."""
    if numbers.dtype.itemsize == 1:
        return False
    low, high = value_range or ((0, 1) if numbers.dtype.kind == "f" else (0, 65535))
    numbers = _finite(numbers)
    span = min(float(numbers.max()), high) - max(float(numbers.min()), low)
    return 16 * span < high - low


def _finite(numbers: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.isfinite(numbers), numbers, 0) if numbers.dtype.kind == "f" else numbers


def _shown(numbers: NDArray[Any], value_range: ValueRange | None) -> NDArray[np.uint8]:
    fractions, numbers = numbers.dtype.kind == "f", _finite(numbers)
    if value_range is None:
        least, most = numbers.min(), numbers.max()
        slack = _SLACK if fractions else 0
        if least < -slack or most > (1 + slack if fractions else 65535):
            expected = "0..1, as fractions have" if fractions else "0..65535"
            raise InputError(
                f"its numbers are {least:g} to {most:g}, expected {expected}: tell which are black and white: "
                "value_range = [low, high] in dataset.toml (semivl predict --value-range LOW HIGH)"
            )
    return _scaled(numbers.astype(np.float64), *(value_range or ((0, 1) if fractions else (0, 65535))))


def _scaled(numbers: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    scaled: NDArray[np.float64] = (np.clip(numbers, low, high) - low) * (255 / (high - low))
    shown: NDArray[np.uint8] = np.rint(scaled).astype(np.uint8)
    return shown
