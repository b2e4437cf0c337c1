"""The terms of the loss: supervised, consistency (Eq. 1), guidance (Eq. 4), as pure functions of tensors.

Each term is a sum over images of per-pixel sums, weighted so that pixels are counted over a group of images (all of
the global batch, or as many as one process of the published runs held). The weights depend on labels and masks
alone; they are known before any forward pass, so that micro-batches and processes add up to the whole exactly.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from semivl_cli.class_ids import IGNORE
from semivl_cli.config import ConsistencySettings
from semivl_cli.engine.device import widest_float


def image_weights(counts: Tensor, group: int) -> Tensor:
    """Turn counted pixels of each image into the weight of its pixel sum.

    Args:
        counts: pixels that count, `[B]`, over the whole batch.
        group: images whose pixels are counted together, a divisor of `B`; 0 for all.

    Returns:
        `[B]`, of the widest float: 1 / (pixels of the image's group * number of groups); 0 for a group without pixels.
    """
    groups = counts.to(widest_float(counts.device)).view(-1, group or len(counts))
    total = groups.sum(dim=1, keepdim=True)
    weights = torch.where(total > 0, 1 / (total * len(groups)), 0.0)
    return weights.expand_as(groups).reshape(-1)


def label_term(log_p: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """L_s, and the guidance (Eq. 4): weighted pixel-wise cross entropy with given labels, or with the frozen CLIP's.

    Args:
        log_p: log probabilities `[B, N, H, W]`.
        label: class ids `[B, H, W]`, `IGNORE` left out.
        weight: `[B]` of `image_weights`.
    """
    return _weighted(_cross_entropy(log_p, label).sum(dim=(1, 2)), weight)


def consistency_term(
    log_p: Tensor,
    pseudo_label: Tensor,
    confidence: Tensor,
    valid: Tensor,
    weight: Tensor,
    settings: ConsistencySettings,
    group: int,
) -> Tensor:
    """C(p^p, p^u): cross entropy with the confident pseudo-labels (Eq. 1).

    Args:
        log_p: log probabilities under perturbation `[B, N, H, W]`.
        pseudo_label: class ids `[B, H, W]`, prediction without perturbation.
        confidence: its probability, 0..1, `[B, H, W]`.
        valid: bool `[B, H, W]`, false on padding.
        weight: `[B]` of `image_weights`.
        settings: with the mode. `pixelwise`: pixels with confidence >= tau count (Eq. 1). `pixelratio`: all pixels of
            an image count by its share of confident ones. `pixelavg`: all pixels count by the mean confidence of each
            image, summed over the group.
        group: images whose confidences `pixelavg` adds up; 0 for all here.
    """
    entropy = _cross_entropy(log_p, pseudo_label)  # [B, H, W]
    pixels = valid.sum(dim=(1, 2)).clamp(min=1)
    sure = (confidence >= settings.tau) & valid
    if settings.mode == "pixelwise":
        sums = (entropy * sure).sum(dim=(1, 2))
    elif settings.mode == "pixelratio":
        sums = entropy.sum(dim=(1, 2)) * sure.sum(dim=(1, 2)) / pixels
    else:
        average = (confidence * valid).sum(dim=(1, 2)) / pixels
        groups = average.view(-1, group or len(average))
        sums = entropy.sum(dim=(1, 2)) * groups.sum(dim=1, keepdim=True).expand_as(groups).reshape(-1)
    return _weighted(sums, weight)


def _cross_entropy(log_p: Tensor, label: Tensor) -> Tensor:
    """`[B, N, H, W]`, `[B, H, W]` -> `[B, H, W]`, 0 where the label is `IGNORE`."""
    return F.nll_loss(log_p, label.long(), ignore_index=IGNORE, reduction="none")


def _weighted(sums: Tensor, weight: Tensor) -> Tensor:
    return (sums * weight.to(sums.dtype)).sum()
