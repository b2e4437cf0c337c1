"""The dense vision-language similarity map S (Eq. 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def similarity(dense: Tensor, text: Tensor) -> Tensor:
    """Cosine of every patch with every class text (Eq. 3).

    Args:
        dense: `[B, D, h, w]`; normalised here, which matters for perturbed features.
        text: `[N, D]`; normalised here.

    Returns:
        `S [B, N, h, w]`, -1..1.
    """
    return torch.einsum("bdhw,nd->bnhw", F.normalize(dense, dim=1), F.normalize(text.to(dense.dtype), dim=1))
