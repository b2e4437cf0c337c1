"""CutMix: draws boxes and pastes what another tensor shows inside them, for images, labels and confidences alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semivl_cli.errors import InputError

Box = tuple[int, int, int, int]
"""Top, left, height, width in pixels; all zero: no box."""


_LONGEST = 0.95
"""Share of a side that a box may fill at the most: larger ones would be redrawn without end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CutMixSettings:
    """How boxes are drawn; the defaults are the published ones."""

    probability: float = 0.5
    """That a view has a box at all."""
    area: tuple[float, float] = (0.02, 0.4)
    """Share of the view, drawn uniformly."""
    ratio: tuple[float, float] = (0.3, 1 / 0.3)
    """Height over width, drawn uniformly; in a view that is not square, relative to the form of the view."""

    def __post_init__(self) -> None:
        form = min(max(1.0, self.ratio[0]), self.ratio[1])  # of the drawn ones the nearest to the view's own
        longest = math.sqrt(self.area[1] * max(form, 1 / form))
        if longest > _LONGEST:
            raise InputError(
                f"CutMix boxes of area {self.area[1]} and ratio {self.ratio[0]:g} to {self.ratio[1]:g} hardly ever "
                f"fit: expected a smaller area, or ratios nearer to 1"
            )


def draw_box(rng: np.random.Generator, height: int, width: int, settings: CutMixSettings) -> Box:
    """Draw a box inside `height` x `width`; form and place are redrawn until it fits, its area is not."""
    if rng.random() >= settings.probability:
        return 0, 0, 0, 0
    area = rng.uniform(*settings.area)
    while True:
        ratio = rng.uniform(*settings.ratio)
        box_height, box_width = int(height * math.sqrt(area * ratio)), int(width * math.sqrt(area / ratio))
        left, top = int(rng.integers(width)), int(rng.integers(height))
        if top + box_height <= height and left + box_width <= width:
            return top, left, box_height, box_width


def box_mask(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return bool `[B, H, W]`, true inside the boxes (int `[B, 4]`: top, left, height, width)."""
    top, left, box_height, box_width = boxes[:, :, None].unbind(1)  # [B, 1] each
    rows = torch.arange(height, device=boxes.device)
    columns = torch.arange(width, device=boxes.device)
    inside_rows = (rows >= top) & (rows < top + box_height)  # [B, H]
    inside_columns = (columns >= left) & (columns < left + box_width)  # [B, W]
    return inside_rows[:, :, None] & inside_columns[:, None, :]


def paste(base: Tensor, patch: Tensor, mask: Tensor) -> Tensor:
    """Return `base` with `patch` where `mask` is true; both `[B, ..., H, W]` of any dtype, mask bool `[B, H, W]`."""
    return torch.where(mask.view(len(mask), *[1] * (base.ndim - 3), *base.shape[-2:]), patch, base)
