"""Finds texts of different classes that a text tower can hardly tell apart, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SAME = 1e-5
"""Distance of unit vectors below which they are one: rounding makes a hundredth of it, another word a thousandfold."""

NEAR = 0.5
"""Near texts lie less than half as far apart as texts of different classes usually do (the median)."""

UNUSUAL = 3.0
"""They also lie that many deviations below the median, so that towers whose distances scatter accuse fewer pairs."""

_DEVIATION = 1.4826
"""Standard deviation of a normal distribution whose median absolute deviation is 1."""


class Near(NamedTuple):
    """Two texts of different classes."""

    first: int
    second: int
    """Rows of the vectors; `first < second`."""
    cosine: float
    relative: float
    """Their distance as a share of the median distance of texts of different classes."""


def find_same(vectors: Tensor, class_of_text: Sequence[int]) -> list[tuple[int, int]]:
    """List the pairs of rows of `[K, D]` (unit length) that belong to different classes and are one vector."""
    apart = _between_classes(vectors, class_of_text)
    return [(i, j) for i, j in (apart < SAME).nonzero().tolist()]


def find_near(vectors: Tensor, class_of_text: Sequence[int]) -> list[Near]:
    """List the pairs of different classes that are near but not one, the nearest first.

    All text vectors of a CLIP lie in a narrow cone (cosines of 0.7 and more are common, and how narrow it is differs
    from CLIP to CLIP), so a pair is compared with the other pairs of the same definition, never with a fixed cosine.

    Args:
        vectors: `[K, D]`, unit length.
        class_of_text: class id of each row.
    """
    apart = _between_classes(vectors, class_of_text)
    pairs = apart[apart.isfinite()].numpy()
    if not len(pairs):
        return []
    usual = float(np.median(pairs))
    deviation = _DEVIATION * float(np.median(np.abs(pairs - usual)))
    limit = min(NEAR * usual, usual - UNUSUAL * deviation)
    found = ((apart >= SAME) & (apart < limit)).nonzero().tolist()
    near = [Near(i, j, 1 - float(apart[i, j]) ** 2 / 2, float(apart[i, j]) / usual) for i, j in found]
    return sorted(near, key=lambda pair: pair.relative)


def _between_classes(vectors: Tensor, class_of_text: Sequence[int]) -> Tensor:
    """Distance of each pair of different classes, once (above the diagonal) `[K, K]`; infinite elsewhere."""
    exact = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    owner = torch.tensor(class_of_text)
    wanted = (owner[:, None] != owner).triu(diagonal=1)
    return exact.masked_fill(~wanted, torch.inf)
