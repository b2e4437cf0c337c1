"""The dense vision-language similarity map S (Eq. 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def similarity(dense: Tensor, text: Tensor) -> Tensor:
    """Cosine of every patch, `dense [B, D, h, w]`, with every class text, `[N, D]`: `S [B, N, h, w]`, -1..1 (Eq. 3).

    Both are normalised here, which matters for perturbed features.
    """
    return torch.einsum("bdhw,nd->bnhw", F.normalize(dense, dim=1), F.normalize(text.to(dense.dtype), dim=1))
