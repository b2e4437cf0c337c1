"""A class map on which polygons and regions are painted, and which remembers where classes met."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.annotation.polygons import fill
from semivl_cli.data.annotation.rle import Code, decode_rle


class Canvas:
    """Class ids uint8 `[H, W]`; what is painted later lies on top, or what is smaller."""

    def __init__(self, size: tuple[int, int], background: int, *, smaller_on_top: bool = False) -> None:
        """Start with `background` (a class id, or 255) everywhere; `size` is `(H, W)`.

        With `smaller_on_top` a region lies on those that have more pixels of the image, whichever was painted first,
        and on those that have as many and were painted before.
        """
        self.ids: NDArray[np.uint8] = np.full(size, background, np.uint8)
        self._covered = np.zeros(size, np.bool_)
        self._contested = np.zeros(size, np.bool_)
        self._areas = np.zeros(size, np.uint32) if smaller_on_top else None
        """Pixels of the region that lies on top."""

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
        """Lay what was painted on another canvas of the same size on top, or by size where both are painted so."""
        self._contested |= other._contested | (self._covered & other._covered & (self.ids != other.ids))
        shown = other._covered.copy()
        if self._areas is not None and other._areas is not None:
            shown &= (self._areas >= other._areas) | ~self._covered
            self._areas[shown] = other._areas[shown]
        self.ids[shown] = other.ids[shown]
        self._covered |= other._covered

    def turn(self, turned: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        """Turn the map and all that is known of it."""
        self.ids, self._covered, self._contested = turned(self.ids), turned(self._covered), turned(self._contested)
        self._areas = None if self._areas is None else turned(self._areas)

    def region(self, inside: NDArray[np.bool_], class_id: int, at: tuple[int, int] = (0, 0)) -> None:
        """Paint where `inside` `[h, w]`, whose first pixel lies at `at` (row, column), is true; the rest is cut off."""
        top, left = at
        inside = inside[max(-top, 0) :, max(-left, 0) :]
        part = (slice(max(top, 0), max(top, 0) + inside.shape[0]), slice(max(left, 0), max(left, 0) + inside.shape[1]))
        ids, covered, contested = self.ids[part], self._covered[part], self._contested[part]
        inside = inside[: ids.shape[0], : ids.shape[1]]
        contested |= inside & covered & (ids != class_id)
        shown = inside
        if self._areas is not None:
            areas, area = self._areas[part], np.count_nonzero(inside)
            shown = inside & ((areas >= area) | ~covered)
            areas[shown] = area
        ids[shown] = class_id
        covered |= inside

    def polygons(self, rings: Sequence[Sequence[float]], class_id: int, *, keep_thin: bool = True) -> None:
        """Paint the union of polygons, each `x, y, x, y, ...` in pixels from the upper left corner of the image.

        One of fewer than three points has no inside and paints nothing; one that is thinner than a pixel paints its
        outline, unless `keep_thin` is false.

        Raises:
            InputError: if coordinates are no finite numbers, come in no pairs, or lie far outside.
        """
        inside, at = fill(
            [ring for ring in rings if len(ring) >= 6], (self.ids.shape[0], self.ids.shape[1]), keep_thin=keep_thin
        )
        self.region(inside, class_id, at)

    def code(self, code: Code, class_id: int) -> None:
        """Paint the region of a run-length code; raises `InputError` if it is broken or of another size."""
        inside, at = decode_rle(code, (self.ids.shape[0], self.ids.shape[1]))
        self.region(inside, class_id, at)

    def polygon(self, points: Iterable[Sequence[float]], class_id: int) -> None:
        """Paint one polygon, told by its corners `(x, y)`; raises as `polygons` does."""
        self.polygons([[number for point in points for number in point]], class_id)


def ellipse(x: float, y: float, across: float, down: float) -> list[tuple[float, float]]:
    """Return the 64 corners of a polygon that stands for an ellipse about `(x, y)` with these radii."""
    turns = [2 * math.pi * corner / 64 for corner in range(64)]
    return [(x + across * math.cos(turn), y + down * math.sin(turn)) for turn in turns]


def rotated(
    corners: Sequence[tuple[float, float]], middle: tuple[float, float], degrees: float
) -> Sequence[tuple[float, float]]:
    """Return corners turned about a point, clockwise as one sees it."""
    (x, y), turn = middle, math.radians(degrees)
    cos, sin = math.cos(turn), math.sin(turn)
    if not turn:
        return corners
    return [(x + (u - x) * cos - (v - y) * sin, y + (u - x) * sin + (v - y) * cos) for u, v in corners]
