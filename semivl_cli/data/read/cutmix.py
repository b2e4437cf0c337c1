"""CutMix: draws boxes and pastes what another tensor shows inside them, for images, labels and confidences alike."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from semivl_cli.config import AugmentSettings

Box = tuple[int, int, int, int]
"""Top, left, height, width in pixels; all zero: no box."""


def draw_box(rng: np.random.Generator, height: int, width: int, augment: AugmentSettings) -> Box:
    """Draw a box inside `height` x `width`; form and place are redrawn until it fits, its area is not."""
    if rng.random() >= augment.cutmix:
        return 0, 0, 0, 0
    (smallest, largest), (flattest, tallest) = augment.cutmix_area, augment.cutmix_ratio
    area = rng.uniform(smallest, largest)
    while True:
        ratio = rng.uniform(flattest, tallest)
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
