"""Fills polygons as COCO's own library does, pixel by pixel, at the cost of the part of the image that they cover."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semivl_cli.errors import InputError

FARTHEST = 1_000_000
"""A coordinate of more pixels than this is a mistake."""
LONGEST = 5_000_000
"""Columns of pixels that the sides of a polygon may cross in all."""

_STEPS = 5
"""COCO rounds corners to fifths of a pixel, and walks along a side in steps of that length."""

Region = tuple[NDArray[np.bool_], tuple[int, int]]
"""Pixels `[h, w]`, and row and column of the first of them in the image."""

_NOTHING: Region = np.zeros((0, 0), np.bool_), (0, 0)


def fill(rings: Sequence[Sequence[float]], size: tuple[int, int], *, keep_thin: bool = True) -> Region:
    """Return the pixels of an image of `(H, W)` that lie in any of the polygons, each `x, y, x, y, ...` in pixels.

    They are those of `pycocotools.mask.frPyObjects`. A polygon without any pixel by that rule, since it is thinner than
    one, keeps the pixels that its outline crosses; so it never vanishes, unless `keep_thin` is false.

    Raises:
        InputError: if coordinates are no finite numbers, come in no pairs, lie far outside, or have sides without end.
    """
    parts = []
    for ring in rings:
        corners = _corners(ring)
        part = _inside(corners, size)
        if not part[0].size and keep_thin and _reaches(corners, size):
            part = _outline(corners, size)
        if part[0].size:
            parts.append(part)
    return _union(parts)


def _union(parts: Sequence[Region]) -> Region:
    if len(parts) < 2:
        return parts[0] if parts else _NOTHING
    top, left = min(top for _, (top, _) in parts), min(left for _, (_, left) in parts)
    bottom = max(top + inside.shape[0] for inside, (top, _) in parts)
    right = max(left + inside.shape[1] for inside, (_, left) in parts)
    union = np.zeros((bottom - top, right - left), np.bool_)
    for inside, (row, column) in parts:
        height, width = inside.shape
        union[row - top : row - top + height, column - left : column - left + width] |= inside
    return union, (top, left)


def _corners(ring: Sequence[float]) -> NDArray[np.float64]:
    """Return the corners `[n, 2]` of a polygon, x and y."""
    if len(ring) % 2:
        raise InputError(f"a polygon has {len(ring)} numbers: expected pairs of x and y")
    try:
        numbers = np.array(ring, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError("a polygon has a coordinate that is no number of pixels") from error
    wrong = np.flatnonzero(~(np.abs(numbers) <= FARTHEST))
    if wrong.size:
        worst = numbers[wrong[0]]
        why = "which is far outside of any image" if np.isfinite(worst) else "expected a number of pixels"
        raise InputError(f"a polygon has the coordinate {worst:g}, {why}")
    return numbers.reshape(-1, 2)


def _inside(corners: NDArray[np.float64], size: tuple[int, int]) -> Region:
    """Fill a polygon: in each column of pixels, between every second and the next of the sides that cross it.

    A side crosses column `c` where its steps go from `5c + 2` to `5c + 3` fifths of a pixel: through the middle.
    """
    height, width = size
    x, y = np.trunc(_STEPS * corners + 0.5).astype(np.int64).T
    x2, y2 = np.roll(x, -1), np.roll(y, -1)
    first = np.maximum((np.minimum(x, x2) + 2) // _STEPS, 0)  # columns that a side crosses
    last = np.minimum((np.maximum(x, x2) - 3) // _STEPS, width - 1)
    crossed = np.maximum(last - first + 1, 0)
    total = int(crossed.sum())
    _check_length(total)
    if not total:
        return _NOTHING
    side = np.repeat(np.arange(len(x)), crossed)
    columns = np.arange(total) - np.repeat(np.cumsum(crossed) - crossed, crossed) + first[side]
    steps = _steps_down(x[side], y[side], x2[side], y2[side], _STEPS * columns + 2)
    rows = np.ceil(np.clip((steps + 0.5) / _STEPS - 0.5, 0, height)).astype(np.int64)
    left, top = int(columns.min()), int(rows.min())
    shape = int(columns.max()) - left + 1, int(rows.max()) - top
    places = np.sort((columns - left) * shape[1] + (rows - top))
    runs = np.diff(places, prepend=0, append=shape[0] * shape[1])
    if not runs[1::2].any():
        return _NOTHING
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape).T, (top, left)


def _steps_down(
    x: NDArray[np.int64], y: NDArray[np.int64], x2: NDArray[np.int64], y2: NDArray[np.int64], at: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the lesser height of the two steps of each side from `(x, y)` to `(x2, y2)` between `at` and `at + 1`."""
    across, down = np.abs(x2 - x), np.abs(y2 - y)
    flat = across >= down
    back = np.where(flat, x > x2, y > y2)  # a side is walked to the right if it is flat, and down if it is steep
    x, x2 = np.where(back, x2, x), np.where(back, x, x2)
    y, y2 = np.where(back, y2, y), np.where(back, y, y2)
    slope = np.where(flat, y2 - y, x2 - x) / np.maximum(across, down)

    def walk(start: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.float64]:
        steps: NDArray[np.float64] = np.trunc(start + slope * count + 0.5)
        return steps

    heights = np.minimum(walk(y, at - x), walk(y, at - x + 1))

    def passed(count: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.where(slope > 0, walk(x, count) > at, walk(x, count) <= at)

    with np.errstate(divide="ignore", invalid="ignore"):
        exact = np.where(flat, 0, (at + 0.5 - x) / slope)
    count = np.ceil(exact).astype(np.int64)  # of steps, up to one off where the quotient was rounded
    count = np.where(passed(count - 1), count - 1, np.where(passed(count), count, count + 1))
    return np.where(flat, heights, y + count - 1)


def _reaches(corners: NDArray[np.float64], size: tuple[int, int]) -> bool:
    """Whether a polygon reaches into the image; one outside may touch the border and has no part of it."""
    low, high, most = corners.min(0), corners.max(0), np.array(size[::-1])
    return bool(((low >= 0) & (high <= most)).all() or ((high > 0) & (low < most)).all())


def _outline(corners: NDArray[np.float64], size: tuple[int, int]) -> Region:
    """Return the pixels that the sides of a polygon cross."""
    low, high, across = corners.min(0), corners.max(0), np.array((size[1], size[0]))
    if ((high <= 0) & (low < 0) | (low >= across) & (high > across)).any():
        return _NOTHING  # it lies beside the image, and touches it at most
    ends = np.roll(corners, -1, 0)
    sides = [np.arange(len(corners))] * 2
    times = [np.zeros(len(corners)), np.ones(len(corners))]  # 0..1 on a side, where one pixel ends and the next begins
    for axis, most in enumerate((size[1], size[0])):
        start, end = corners[:, axis], ends[:, axis]
        first = np.maximum(np.ceil(np.minimum(start, end)), 0).astype(np.int64)  # lines between columns, or rows
        last = np.minimum(np.floor(np.maximum(start, end)), most).astype(np.int64)
        crossed = np.where(start == end, 0, np.maximum(last - first + 1, 0))
        _check_length(int(crossed.sum()))
        side = np.repeat(np.arange(len(corners)), crossed)
        line = np.arange(len(side)) - np.repeat(np.cumsum(crossed) - crossed, crossed) + first[side]
        sides.append(side)
        times.append((line - start[side]) / (end - start)[side])
    side, time = np.concatenate(sides), np.concatenate(times)
    order = np.lexsort((time, side))
    side, time = side[order], time[order]
    piece = np.flatnonzero(side[1:] == side[:-1])
    middle = (time[piece] + time[piece + 1]) / 2
    x, y = (corners[side[piece]] + middle[:, None] * (ends - corners)[side[piece]]).T
    there = (x >= 0) & (x <= size[1]) & (y >= 0) & (y <= size[0])
    if not there.any():
        return _NOTHING
    column = np.minimum(x[there].astype(np.int64), size[1] - 1)  # what lies on the border is of the last pixel
    row = np.minimum(y[there].astype(np.int64), size[0] - 1)
    top, left = int(row.min()), int(column.min())
    inside = np.zeros((int(row.max()) - top + 1, int(column.max()) - left + 1), np.bool_)
    inside[row - top, column - left] = True
    return inside, (top, left)


def _check_length(columns: int) -> None:
    if columns > LONGEST:
        raise InputError(f"the sides of a polygon cross {columns} columns of pixels: more than {LONGEST} are refused")
