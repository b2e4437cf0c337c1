"""What encoders hand to decoders, and the feature perturbation P of Sec. 3.1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Features(NamedTuple):
    """Feature maps of a batch of images."""

    skips: tuple[Tensor, ...]
    """Early features, earlier block first: each `[B, E, h, w]` (a detail encoder's: `[B, C, H/4, W/4]`)."""
    dense: Tensor
    """Dense embedding, unit length over channels: `[B, D, h, w]`."""


def perturb(features: Features, multipliers: Sequence[Tensor]) -> Features:
    """P: multiply the channels of every feature map by `[B, C]`: skips in order, then dense vectors."""
    maps = (*features.skips, features.dense)
    scaled = [m * multiplier.to(m)[:, :, None, None] for m, multiplier in zip(maps, multipliers, strict=True)]
    return Features(tuple(scaled[:-1]), scaled[-1])
