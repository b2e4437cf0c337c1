"""From pixels to what encoders take, and from coarse maps back to pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of RGB in 0..1."""

IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Normalize(nn.Module):
    """uint8 RGB `[B, 3, H, W]` -> float images of the weights' dtype with the given statistics."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normalise in float32, then hand over in `dtype`."""
        return ((image.float() / 255 - self.mean.float()) / self.std.float()).to(dtype)


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps `[B, N, ., .]` bilinearly to `size`."""
    if maps.shape[2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
