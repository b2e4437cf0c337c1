"""A batch from the loader -> what the step sees: strong views coloured on the device, CutMix masks, dropout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from semivl_cli.class_ids import IGNORE
from semivl_cli.data.load.batches import Batch
from semivl_cli.data.read.augment import strong_view
from semivl_cli.data.read.cutmix import box_mask
from semivl_cli.engine.train.step import Labeled, Unlabeled

_DROPOUT = 100
"""Part of the seed of dropped channels; the loader's draws have smaller numbers."""


def step_inputs(
    batch: Batch, device: torch.device, *, seed: int, channels: Sequence[int], dropout: float, first: int = 0
) -> tuple[Labeled, Unlabeled | None]:
    """Move a batch to the device and perturb it there.

    Args:
        batch: geometry done, colours and boxes drawn.
        device: of the model.
        seed: of the run.
        channels: widths of the feature maps that P perturbs: skips in their order, then the dense vectors.
        dropout: share of channels that P drops.
        first: position of the first image in the global batch.
    """
    batch = batch.to(device)
    x = Labeled(image=batch.x_image, label=batch.x_label)
    if batch.u_image is None or batch.u_ignore is None or batch.colors is None or batch.boxes is None:
        return x, None
    height, width = batch.u_image.shape[2:]
    partner, colors = batch.partner_image, batch.partner_colors
    u = Unlabeled(
        weak=batch.u_image,
        strong1=strong_view(batch.u_image, batch.colors[0]),
        strong2=strong_view(batch.u_image, batch.colors[1]),
        valid=batch.u_ignore != IGNORE,
        box1=box_mask(batch.boxes[0], height, width),
        box2=box_mask(batch.boxes[1], height, width),
        other_weak=partner,
        other_strong1=None if partner is None or colors is None else strong_view(partner, colors[0]),
        other_strong2=None if partner is None or colors is None else strong_view(partner, colors[1]),
        other_valid=None if batch.partner_ignore is None else batch.partner_ignore != IGNORE,
        dropout=channel_dropout(seed, batch.step, len(batch.u_image), channels, dropout, device, first),
    )
    return x, u


def channel_dropout(
    seed: int, step: int, images: int, channels: Sequence[int], rate: float, device: torch.device, first: int = 0
) -> tuple[Tensor, ...]:
    """Draw the multipliers of P: 0 with probability `rate`, else 1 / (1 - rate); `[B, C]` for each feature map.

    The draws of an image follow from its position in the global batch, which counts from `first` here.
    """
    drawn = []
    for image in range(first, first + images):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_DROPOUT, step, image)))
        drawn.append((rng.random(sum(channels)) >= rate) / (1 - rate))
    multipliers = torch.from_numpy(np.stack(drawn).astype(np.float32)).to(device, non_blocking=True)
    parts: tuple[Tensor, ...] = multipliers.split(list(channels), dim=1)
    return parts
