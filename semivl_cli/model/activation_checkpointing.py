"""Activation checkpointing: what a part of the model computed is forgotten, and computed again for the gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def checkpointed(part: Callable[..., Tensor], *inputs: Tensor, when: bool) -> Tensor:
    """Return `part(*inputs)`; `when` so wanted, only the inputs are kept for the gradient, which stays the same.

    The parts draw no random numbers and keep no statistics, so that running them twice changes nothing; the detail
    encoder, whose BatchNorm counts every run, is no such part.
    """
    if not when or not torch.is_grad_enabled():
        return part(*inputs)
    return checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False)
