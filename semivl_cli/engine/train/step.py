"""One semi-supervised step, in the order of Sec. 3."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from semivl_cli.class_ids import IGNORE
from semivl_cli.data.read.cutmix import paste
from semivl_cli.engine.distributed.gradients import Exchange
from semivl_cli.engine.train.losses import (
    ConfidenceMode,
    consistency_term,
    guidance_term,
    image_weights,
    supervised_term,
)
from semivl_cli.model.features import Features, perturb
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.semivl import SemiVL

PerView = tuple[Tensor, Tensor, Tensor]
"""One tensor for the feature-perturbed weak view and for the two strong views, in this order."""


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """The numbers of the method; see `semivl_cli.config` for their meaning."""

    consistency_weight: float
    mode: ConfidenceMode
    tau: float
    consistency_reduction: Literal["mean_all", "mean_valid"]
    zeta: float
    guidance_reduction: Literal["mean_all", "mean_valid", "mean"]
    inside_half: bool
    group: int


@dataclass(frozen=True, kw_only=True)
class Labeled:
    """D^l of one step."""

    image: Tensor
    """uint8 RGB `[B, 3, H, W]`."""
    label: Tensor
    """Class ids uint8 `[B, H, W]`."""


@dataclass(frozen=True, kw_only=True)
class Unlabeled:
    """D^u of one step: views of `B` images and of the partners that CutMix pastes into them."""

    weak: Tensor
    """x^u: uint8 RGB `[B, 3, H, W]`."""
    strong1: Tensor
    """A(x^u): the first strong view, before CutMix; `strong2` likewise."""
    strong2: Tensor
    valid: Tensor
    """Bool `[B, H, W]`, false on padding."""
    box1: Tensor
    """Bool `[B, H, W]`: where the partner is pasted into the first strong view; `box2` likewise."""
    box2: Tensor
    other_weak: Tensor | None
    """The partners' views; `None` where images 2k and 2k+1 are each other's partner."""
    other_strong1: Tensor | None
    other_strong2: Tensor | None
    other_valid: Tensor | None
    dropout: tuple[Tensor, ...]
    """P: channel multipliers `[B, C]` of the skips in order, then of the dense vectors."""


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What the step knows before any gradient: guidance labels and the weight of every image in every term."""

    supervised_weight: Tensor
    """`[B]`."""
    valid: PerView | None = None
    """Bool `[B, H, W]`, false on padding; like all below, `None` without unlabelled images."""
    valid_pixels: Tensor | None = None
    """`[B]`: valid pixels of the weak views of the whole batch, the same number for each image."""
    consistency_weight: PerView | None = None
    guidance_label: PerView | None = None
    """p_DC: class ids uint8 `[B, H, W]`, `IGNORE` below zeta and on padding."""
    guidance_weight: PerView | None = None


class Losses(NamedTuple):
    """The terms of one step (or of a part of its images: they add up), and what was accepted."""

    total: Tensor
    L_s: Tensor
    L_u: Tensor
    guidance: Tensor
    pseudo_labels: Tensor
    """Share of the batch's valid pixels that are here and whose pseudo-label was confident."""
    terms: dict[str, Tensor]
    """C and guidance of each view: `fp`, `s1`, `s2`, `dc_fp`, `dc_s1`, `dc_s2`."""


def train_step(
    model: SemiVL,
    guide: DenseClip | None,
    x: Labeled,
    u: Unlabeled | None,
    settings: StepSettings,
    lambda_DC: float,
    micro_batch: int,
    autocast: AbstractContextManager[Any] | None = None,
    exchange: Exchange | None = None,
) -> dict[str, Tensor]:
    """Add the gradient of one global batch to the parameters, `micro_batch` images at a time.

    Among several processes, `x` and `u` are this one's share, and the gradient is that of all shares together.

    Returns:
        The terms of the loss and the shares of accepted pixels as scalar tensors on the device: what this process
        adds to them.
    """
    exchange = exchange or Exchange(batch=len(x.image))
    targets = prepare_targets(guide, x, u, settings, micro_batch, exchange)
    sums: dict[str, Tensor] = {}
    for start in range(0, len(x.image), micro_batch):
        part = slice(start, start + micro_batch)
        part_x, part_u = part_of(x, part), None if u is None else part_of(u, part)
        with autocast or nullcontext():
            losses = step_losses(model, part_x, part_u, part_of(targets, part), settings, lambda_DC)
        exchange.part(last=part.stop >= len(x.image))
        losses.total.backward()
        seen = {
            "loss": losses.total,
            "L_s": losses.L_s,
            "L_u": losses.L_u,
            "guidance": losses.guidance,
            "pseudo_labels": losses.pseudo_labels,
        }
        for name, value in seen.items():
            sums[name] = sums.get(name, 0) + value.detach()
    exchange.end()
    share = len(x.image) / exchange.batch
    sums["labeled_pixels"] = (x.label != IGNORE).float().mean() * share
    if targets.guidance_label is not None:
        sums["guidance_pixels"] = (targets.guidance_label[0] != IGNORE).float().mean() * share
    return sums


@torch.no_grad()
def prepare_targets(
    guide: DenseClip | None,
    x: Labeled,
    u: Unlabeled | None,
    settings: StepSettings,
    micro_batch: int,
    exchange: Exchange | None = None,
) -> Targets:
    """Ask the frozen CLIP (Sec. 3.5), mix its labels as the images, and count pixels over the whole batch."""
    exchange = exchange or Exchange()
    counted = [(x.label != IGNORE).sum(dim=(1, 2))]
    if u is None:
        [counts] = exchange.counts(torch.stack(counted))
        return Targets(supervised_weight=image_weights(counts, settings.group)[exchange.positions])
    valid = _mix(u, u.valid, u.other_valid)
    counted += [u.valid.sum(dim=(1, 2))]
    counted += _counts(settings.consistency_reduction, valid)
    label: PerView | None = None
    if guide is not None:
        p_DC = _guidance_label(guide, u.weak, u.valid, settings.zeta, micro_batch)
        other = None
        if u.other_weak is not None and u.other_valid is not None:
            other = _guidance_label(guide, u.other_weak, u.other_valid, settings.zeta, micro_batch)
        label = _mix(u, p_DC, other)
        sure = (label[0] != IGNORE, label[1] != IGNORE, label[2] != IGNORE)
        counted += _counts(settings.guidance_reduction, sure if settings.guidance_reduction == "mean" else valid)
    labeled, plain, *views = exchange.counts(torch.stack(counted))  # of all processes, [B] each
    supervised, *weights = (image_weights(counts, settings.group)[exchange.positions] for counts in (labeled, *views))
    return Targets(
        supervised_weight=supervised,
        valid=valid,
        valid_pixels=plain.sum().expand(len(u.valid)),
        consistency_weight=(weights[0], weights[1], weights[2]),
        guidance_label=label,
        guidance_weight=None if label is None else (weights[3], weights[4], weights[5]),
    )


def _counts(reduction: str, counted: PerView) -> list[Tensor]:
    """Pixels of each image that a reduction counts, `[B]` for each view."""
    if reduction == "mean_all":
        return [mask.new_full((len(mask),), mask[0].numel(), dtype=torch.int64) for mask in counted]
    return [mask.sum(dim=(1, 2)) for mask in counted]


def step_losses(
    model: SemiVL, x: Labeled, u: Unlabeled | None, targets: Targets, settings: StepSettings, lambda_DC: float
) -> Losses:
    """Compute L = (L_s + L_u) / 2 with guidance (Eq. 1, 2, 4) for some images of a batch."""
    size = (x.image.shape[2], x.image.shape[3])
    nothing = targets.supervised_weight.new_zeros(())
    if u is None or targets.valid is None or targets.consistency_weight is None:
        L_s = supervised_term(model(x.image).log_softmax(dim=1), x.label, targets.supervised_weight)
        return Losses(L_s / 2, L_s, nothing, nothing, nothing, {})

    # The partner's pseudo-labels come from the model at rest.
    p_other = _predict(model, u.other_weak) if u.other_weak is not None else None

    # Predictions p on labelled, weak and feature-perturbed images: h(g(x)), h(g(x^u)), h(P(g(x^u))).
    b = len(x.image)
    features = model.encode(torch.cat([x.image, u.weak]))
    perturbed = perturb(_take(features, slice(b, None)), u.dropout)
    logits_x, logits_u, logits_fp = model.decode(_join(features, perturbed), size).split([b, b, b])
    # Predictions under strong augmentation A and CutMix.
    mixed = [
        paste(u.strong1, _partner(u.strong1, u.other_strong1), u.box1),
        paste(u.strong2, _partner(u.strong2, u.other_strong2), u.box2),
    ]
    logits_s1, logits_s2 = model(torch.cat(mixed)).chunk(2)

    # Pseudo-labels p^u, without gradient, mixed as the images were.
    confidence_u, label_u = logits_u.detach().softmax(dim=1).max(dim=1)
    pseudo_label = _mix(u, label_u, p_other[1] if p_other else None)
    confidence = _mix(u, confidence_u, p_other[0] if p_other else None)

    L_s = supervised_term(logits_x.log_softmax(dim=1), x.label, targets.supervised_weight)
    L_u, guidance, terms = nothing, nothing, {}
    views = (("fp", logits_fp, 1 / 2), ("s1", logits_s1, 1 / 4), ("s2", logits_s2, 1 / 4))  # Eq. 2
    for i, (view, logits, share) in enumerate(views):
        log_p = logits.log_softmax(dim=1)
        terms[view] = consistency_term(
            log_p,
            pseudo_label[i],
            confidence[i],
            targets.valid[i],
            targets.consistency_weight[i],
            settings.mode,
            settings.tau,
            settings.group,
        )  # Eq. 1
        L_u = L_u + share * terms[view]
        if targets.guidance_label is not None and targets.guidance_weight is not None:
            terms[f"dc_{view}"] = guidance_term(log_p, targets.guidance_label[i], targets.guidance_weight[i])  # Eq. 4
            guidance = guidance + share * terms[f"dc_{view}"]
    total = (L_s + settings.consistency_weight * L_u) / 2
    total = total + lambda_DC * guidance * (1 / 2 if settings.inside_half else 1)

    assert targets.valid_pixels is not None
    accepted = ((confidence_u >= settings.tau) & u.valid).sum() / targets.valid_pixels[0].clamp(min=1)
    return Losses(total, L_s, L_u, guidance, accepted, terms)


@torch.no_grad()
def _predict(model: SemiVL, image: Tensor) -> tuple[Tensor, Tensor]:
    """Confidence and class of each pixel, in evaluation mode."""
    model.eval()
    confidence, label = model(image).softmax(dim=1).max(dim=1)
    model.train()
    return confidence, label


def _guidance_label(guide: DenseClip, image: Tensor, valid: Tensor, zeta: float, at_once: int) -> Tensor:
    """Labels of the frozen CLIP, uint8 `[B, H, W]`: `IGNORE` where its confidence is below zeta, and on padding."""
    labels = []
    for part, part_valid in zip(image.split(at_once), valid.split(at_once), strict=True):
        said = guide(part)
        sure = (said.confidence >= zeta) & part_valid
        labels.append(torch.where(sure, said.label, IGNORE).to(torch.uint8))
    return torch.cat(labels)


def _mix(u: Unlabeled, plain: Tensor, other: Tensor | None) -> PerView:
    """Mix maps `[B, H, W]` of the images and of their partners as CutMix mixed the images."""
    pasted = _partner(plain, other)
    return plain, paste(plain, pasted, u.box1), paste(plain, pasted, u.box2)


def _partner(of: Tensor, other: Tensor | None) -> Tensor:
    """What CutMix pastes into `of [B, ...]`: `other`, or without one the neighbour in each pair 2k, 2k + 1."""
    if other is not None:
        return other
    swapped: Tensor = of.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
    return swapped


def _take(features: Features, part: slice) -> Features:
    return Features(tuple(skip[part] for skip in features.skips), features.dense[part])


def _join(a: Features, b: Features) -> Features:
    skips = tuple(torch.cat(pair) for pair in zip(a.skips, b.skips, strict=True))
    return Features(skips, torch.cat([a.dense, b.dense]))


T = TypeVar("T", Labeled, Unlabeled, Targets)


def part_of(whole: T, part: slice) -> T:
    """The same record of some of its images."""

    def cut(value: Tensor | tuple[Tensor, ...] | None) -> Any:  # noqa: ANN401 - the type of the field
        if value is None:
            return None
        return tuple(item[part] for item in value) if isinstance(value, tuple) else value[part]

    return replace(whole, **{field.name: cut(getattr(whole, field.name)) for field in fields(whole)})
