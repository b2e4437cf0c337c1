"""A class map on which polygons and regions are painted in order, and which remembers where classes met."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from semivl_cli.data.annotation.rle import decode_rle
from semivl_cli.errors import InputError


class Canvas:
    """Class ids uint8 `[H, W]`; what is painted later lies on top."""

    def __init__(self, size: tuple[int, int], background: int) -> None:
        """Start with `background` (a class id, or 255) everywhere; `size` is `(H, W)`."""
        self.ids: NDArray[np.uint8] = np.full(size, background, np.uint8)
        self._covered = np.zeros(size, np.bool_)
        self._contested = np.zeros(size, np.bool_)

    @classmethod
    def whole(cls, ids: NDArray[np.uint8]) -> Canvas:
        """Return the canvas of a mask `[H, W]` that covers everything."""
        canvas = cls((ids.shape[0], ids.shape[1]), 0)
        canvas.ids = ids
        canvas._covered[:] = True
        return canvas

    @property
    def uncovered(self) -> int:
        """Number of pixels that nothing was painted on."""
        return int(self._covered.size - np.count_nonzero(self._covered))

    @property
    def contested(self) -> int:
        """Number of pixels that were painted as two classes or more."""
        return int(np.count_nonzero(self._contested))

    @property
    def classes(self) -> set[int]:
        """What was painted: class ids, and 255."""
        return set(np.unique(self.ids[self._covered]).tolist())

    def lay(self, other: Canvas) -> None:
        """Lay what was painted on another canvas of the same size on top."""
        self._contested |= other._contested | (self._covered & other._covered & (self.ids != other.ids))
        self.ids[other._covered] = other.ids[other._covered]
        self._covered |= other._covered

    def turn(self, turned: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        """Turn the map and all that is known of it."""
        self.ids, self._covered, self._contested = turned(self.ids), turned(self._covered), turned(self._contested)

    def region(self, inside: NDArray[np.bool_], class_id: int, at: tuple[int, int] = (0, 0)) -> None:
        """Paint where `inside` `[h, w]`, whose first pixel lies at `at` (row, column), is true; the rest is cut off."""
        top, left = at
        inside = inside[max(-top, 0) :, max(-left, 0) :]
        part = (slice(max(top, 0), max(top, 0) + inside.shape[0]), slice(max(left, 0), max(left, 0) + inside.shape[1]))
        ids, covered, contested = self.ids[part], self._covered[part], self._contested[part]
        inside = inside[: ids.shape[0], : ids.shape[1]]
        contested |= inside & covered & (ids != class_id)
        ids[inside] = class_id
        covered |= inside

    def polygons(self, rings: Sequence[Sequence[float]], class_id: int) -> None:
        """Paint the union of polygons, each `x, y, x, y, ...` in pixels from the upper left corner of the image.

        A polygon of fewer than three points has no inside and paints nothing.

        Raises:
            InputError: if coordinates are no finite numbers, come in no pairs, or lie far outside.
        """
        solid = [_checked(ring) for ring in rings if len(ring) >= 6]
        if solid:
            height, width = self.ids.shape
            across = [number for ring in solid for number in ring[::2]]
            down = [number for ring in solid for number in ring[1::2]]
            left, top = max(math.floor(min(across)) - 1, 0), max(math.floor(min(down)) - 1, 0)
            right, bottom = min(math.ceil(max(across)) + 1, width), min(math.ceil(max(down)) + 1, height)
            if left < right and top < bottom:  # within this box alone: most objects are small, and images are not
                moved = [[number - (left, top)[index % 2] for index, number in enumerate(ring)] for ring in solid]
                code = coco_mask.merge(coco_mask.frPyObjects(moved, bottom - top, right - left))
                self.region(decode_rle(code), class_id, at=(top, left))

    def polygon(self, points: Iterable[Sequence[float]], class_id: int) -> None:
        """Paint one polygon, told by its corners `(x, y)`; raises as `polygons` does."""
        self.polygons([[number for point in points for number in point]], class_id)


def ellipse(x: float, y: float, across: float, down: float) -> list[tuple[float, float]]:
    """Return the 64 corners of a polygon that stands for an ellipse about `(x, y)` with these radii."""
    turns = [2 * math.pi * corner / 64 for corner in range(64)]
    return [(x + across * math.cos(turn), y + down * math.sin(turn)) for turn in turns]


def _checked(ring: Sequence[float]) -> Sequence[float]:
    if len(ring) % 2:
        raise InputError(f"a polygon has {len(ring)} numbers: expected pairs of x and y")
    for number in ring:
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise InputError(f"a polygon has the coordinate {number!r}: expected a number of pixels")
        if abs(number) > 100_000:  # a mistake, which would cost memory without end
            raise InputError(f"a polygon has the coordinate {number:g}, which is far outside of any image")
    return ring
