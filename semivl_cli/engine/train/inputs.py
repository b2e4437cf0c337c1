"""A batch from the loader -> what the step sees: strong views coloured on the device and mixed by CutMix, dropout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from semivl_cli.class_ids import IGNORE
from semivl_cli.config import RunConfig
from semivl_cli.data.load.batches import Batch
from semivl_cli.data.read.augment import ColorDraw, strong_view
from semivl_cli.data.read.cutmix import box_mask, paste

PerView = tuple[Tensor, ...]
"""One tensor each for the weak view, whose features are perturbed, and for both strong views; empty: there is none."""

_DROPOUT = 100
"""Part of the seed of dropped channels; the loader's draws have smaller numbers."""


@dataclass(frozen=True, kw_only=True)
class Labeled:
    """D^l of one step."""

    image: Tensor
    """uint8 RGB `[B, 3, H, W]`."""
    label: Tensor
    """Class ids uint8 `[B, H, W]`."""


class Views(NamedTuple):
    """One crop each of `B` unlabelled images, before CutMix."""

    weak: Tensor
    """x^u: uint8 RGB `[B, 3, H, W]`."""
    strong1: Tensor
    """A(x^u); `strong2` likewise."""
    strong2: Tensor
    valid: Tensor
    """Bool `[B, H, W]`, false on padding."""


@dataclass(frozen=True, kw_only=True)
class Unlabeled:
    """D^u of one step: `B` images, into whose strong views CutMix has pasted their partners."""

    weak: Tensor
    """x^u: uint8 RGB `[B, 3, H, W]`."""
    mixed: tuple[Tensor, ...]
    """Both strong views after CutMix."""
    valid: PerView
    """Bool `[B, H, W]`, false on padding."""
    boxes: tuple[Tensor, ...]
    """Bool `[B, H, W]`: where the partner is pasted into each strong view."""
    partner: Tensor | None
    """The partners' weak views; `None`: images 2k and 2k + 1 are each other's partner."""
    dropout: tuple[Tensor, ...]
    """P: channel multipliers `[B, C]` of the skips in order, then of the dense vectors."""

    def mix(self, own: Tensor, partner: Tensor | None) -> PerView:
        """Mix maps `[B, H, W]` as CutMix mixed the images; `partner`: of the partners, if they are other crops."""
        other = _neighbors(own) if partner is None else partner
        return own, *(paste(own, other, box) for box in self.boxes)


def cutmix(own: Views, partner: Views | None, boxes: tuple[Tensor, ...], dropout: tuple[Tensor, ...]) -> Unlabeled:
    """Paste the partners' views into the boxes `[B, H, W]`; without partners the neighbours in the pairs 2k, 2k + 1."""
    other = partner or Views(*map(_neighbors, own))
    strong = zip((own.strong1, own.strong2), (other.strong1, other.strong2), boxes, strict=True)
    return Unlabeled(
        weak=own.weak,
        mixed=tuple(paste(*views_and_box) for views_and_box in strong),
        valid=(own.valid, *(paste(own.valid, other.valid, box) for box in boxes)),
        boxes=boxes,
        partner=partner.weak if partner else None,
        dropout=dropout,
    )


def _neighbors(own: Tensor) -> Tensor:
    """`[B, ...]` with each pair 2k, 2k + 1 exchanged."""
    swapped: Tensor = own.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
    return swapped


def step_inputs(
    batch: Batch, device: torch.device, config: RunConfig, channels: Sequence[int], first: int
) -> tuple[Labeled, Unlabeled | None]:
    """Move a batch to the device and perturb it there.

    `channels`: widths of the feature maps that P perturbs, skips in their order, then the dense vectors; `first`:
    position of the first image in the global batch.
    """
    batch = batch.to(device)
    x = Labeled(image=batch.x_image, label=batch.x_label)
    own = views_of(batch.u_image, batch.u_ignore, batch.colors)
    partner = views_of(batch.partner_image, batch.partner_ignore, batch.partner_colors)
    if own is None or batch.boxes is None:
        return x, None
    boxes = tuple(box_mask(each, *own.valid.shape[1:]) for each in batch.boxes)
    rate = config.consistency.feature_dropout
    multipliers = channel_dropout(config.seed, batch.step, len(own.weak), channels, rate, device, first)
    return x, cutmix(own, partner, boxes, multipliers)


def views_of(
    image: Tensor | None, ignore: Tensor | None, colors: tuple[tuple[ColorDraw, ...], ...] | None
) -> Views | None:
    """Colour the strong views of crops, if the batch has such."""
    if image is None or ignore is None or colors is None:
        return None
    return Views(image, strong_view(image, colors[0]), strong_view(image, colors[1]), ignore != IGNORE)


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
    multipliers = torch.from_numpy(np.stack(drawn).astype(np.float32)).to(device, non_blocking=device.type == "cuda")
    parts: tuple[Tensor, ...] = multipliers.split(list(channels), dim=1)
    return parts
