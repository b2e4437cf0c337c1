"""Geometry of the views: scale, crop and flip of images and labels on the CPU (Sec. 4, implementation details).

Draws and pixels are apart: `draw_view` decides with the generator it is given, the other functions follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semivl_cli.class_ids import IGNORE
from semivl_cli.config import DataSettings
from semivl_cli.data.read.opencv import cv2
from semivl_cli.limits import check_pixels

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """Which part of an image a view shows: scale to `size`, cut `crop` x `crop` pixels from `top`, `left`, flip.

    A crop that reaches over the scaled image shows padding there, at the bottom and on the right.
    """

    size: Size
    top: int
    left: int
    crop: int
    flip: bool
    opencv: bool
    """Whether OpenCV scales, else Pillow; the second smooths before it shrinks."""

    @property
    def shown(self) -> Size:
        """Height and width of the part of the crop that is not padding."""
        return min(self.crop, self.size[0] - self.top), min(self.crop, self.size[1] - self.left)


def scale_size(
    rng: np.random.Generator, size: Size, base_scale: Sequence[int] | None, scale_range: Sequence[float]
) -> Size:
    """Draw the size to which an image of `size` is scaled.

    With a base scale (long side, short side) a factor is drawn from `scale_range`, and the image is scaled, keeping
    its proportions, to fit the base scale times that factor. Without, a new long side is drawn between the old one
    times the ends of `scale_range`.
    """
    (low, high), long_side = scale_range, max(size)
    if base_scale is None:
        return _scaled(size, int(rng.integers(int(low * long_side), int(high * long_side), endpoint=True)), long_side)
    factor = float(rng.uniform(low, high))
    most_long, most_short = int(max(base_scale) * factor), int(min(base_scale) * factor)
    return _scaled(size, min(most_long / long_side, most_short / min(size)))


def validation_size(size: Size, short_side: int) -> Size:
    """Return the size that an image of `size` has when its short side is scaled to `short_side`.

    The long side is bounded by eight times as many: a ribbon of a picture must not become millions of pixels.
    """
    short, long = sorted(size)
    return _scaled(size, short_side / short if long <= 8 * short else 8 * short_side / long)


def draw_view(rng: np.random.Generator, size: Size, data: DataSettings, flip: float) -> View:
    """Draw a view of an image of `size`; `flip` is the probability of a horizontal flip."""
    crop = data.crop
    height, width = scaled = scale_size(rng, size, data.base_scale, data.scale_range)
    return View(
        size=scaled,
        top=int(rng.integers(max(height - crop, 0), endpoint=True)),
        left=int(rng.integers(max(width - crop, 0), endpoint=True)),
        crop=crop,
        flip=bool(rng.random() < flip),
        opencv=data.base_scale is not None,
    )


def view_image(image: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    """Return the view of an image: uint8 `[H, W, 3]` -> `[crop, crop, 3]`, scaled bilinearly, padded with 0."""
    rows, columns = view.shown
    if view.opencv:
        return _padded(_part(cv2.resize(image, view.size[::-1], interpolation=cv2.INTER_LINEAR), view), view, 0)
    # Pillow computes no more than the part that is shown, to what the whole would show within one level.
    down, across = image.shape[0] / view.size[0], image.shape[1] / view.size[1]
    bottom, right = (view.top + rows) * down, (view.left + columns) * across
    box = (view.left * across, view.top * down, min(right, image.shape[1]), min(bottom, image.shape[0]))
    part = Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR, box=box)
    return _padded(np.asarray(part), view, 0)


def view_label(label: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    """Return the view of class ids: uint8 `[H, W]` -> `[crop, crop]`, nearest neighbour, padded with `IGNORE`."""
    if view.opencv:
        scaled = cv2.resize(label, view.size[::-1], interpolation=cv2.INTER_NEAREST)
    else:
        scaled = np.asarray(Image.fromarray(label).resize(view.size[::-1], Image.Resampling.NEAREST))
    return _padded(_part(scaled, view), view, IGNORE)


def view_ignore(view: View) -> NDArray[np.uint8]:
    """Return uint8 `[crop, crop]`: `IGNORE` where the view shows padding, else 0."""
    return _padded(np.zeros(view.shown, np.uint8), view, IGNORE)


def at_short_side(image: NDArray[np.uint8], short_side: int | None) -> NDArray[np.uint8]:
    """Scale an image `[H, W, 3]` as evaluation and prediction see it: short side of that many pixels, or as it is."""
    if short_side is None:
        return image
    size = validation_size((image.shape[0], image.shape[1]), short_side)
    if image.shape[:2] == size:
        return image
    return np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _scaled(size: Size, factor: float, over: int = 1) -> Size:
    """Return the whole numbers nearest to `size * factor / over`; raises `InputError` above `MEGAPIXELS`."""
    height, width = (max(int(side * factor / over + 0.5), 1) for side in size)
    check_pixels(height, width, f"an image of {size[1]} x {size[0]}, scaled as the settings say")
    return height, width


def _part(scaled: NDArray[Any], view: View) -> NDArray[Any]:
    rows, columns = view.shown
    return scaled[view.top : view.top + rows, view.left : view.left + columns]


def _padded(part: NDArray[Any], view: View, padding: int) -> NDArray[np.uint8]:
    full = np.full((view.crop, view.crop, *part.shape[2:]), padding, np.uint8)
    full[: part.shape[0], : part.shape[1]] = part
    return np.ascontiguousarray(full[:, ::-1]) if view.flip else full
