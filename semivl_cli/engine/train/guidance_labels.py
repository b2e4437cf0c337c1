"""What a step knows before any gradient: labels of the frozen CLIP (Sec. 3.5), and each image's weight in each term."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from semivl_cli.class_ids import IGNORE
from semivl_cli.config import RunConfig
from semivl_cli.engine.distributed.group import ALONE, ProcessGroup
from semivl_cli.engine.train.inputs import Labeled, PerView, Unlabeled
from semivl_cli.engine.train.losses import image_weights
from semivl_cli.model.guidance import DenseClip


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Guidance labels, and the weights by which pixels are counted over the global batch, `[B]` float64 each."""

    labeled_weight: Tensor
    valid_pixels: Tensor
    """Valid pixels of the weak views of the global batch, `[B]`, the same number for each image."""
    consistency_weight: PerView = ()
    p_DC: PerView = ()
    """Class ids uint8 `[B, H, W]`, `IGNORE` below zeta and on padding."""
    guidance_weight: PerView = ()
    logged: dict[str, Tensor] = field(default_factory=dict)
    """Shares of the global batch's pixels that have a label, and a guidance label, in this process."""


@torch.no_grad()
def make_targets(
    guide: DenseClip | None,
    x: Labeled,
    u: Unlabeled | None,
    config: RunConfig,
    micro_batch: int,
    process_group: ProcessGroup = ALONE,
) -> Targets:
    """Ask the frozen CLIP about this process's images, `micro_batch` at a time; count pixels over the global batch."""
    p_DC: PerView = ()
    counted = [(x.label != IGNORE).sum(dim=(1, 2))]  # [B] each
    if u is not None:
        counted += [u.valid[0].sum(dim=(1, 2)), *_counted(config.consistency.reduction, u.valid)]
        if guide is not None:
            p_DC = guidance_labels(guide, u, config.guidance.zeta, micro_batch)
            sure = tuple(label != IGNORE for label in p_DC)
            counted += _counted(config.guidance.reduction, sure if config.guidance.reduction == "mean" else u.valid)

    positions = process_group.rank_slice(config.training.batch, config.micro_batch_unit)
    counts = process_group.all_gather(torch.stack(counted), positions, config.training.batch)  # of all processes
    weights = tuple(image_weights(pixels, config.loss.group)[positions] for pixels in counts)
    logged = {"labeled_pixels": x.label != IGNORE}
    if p_DC:
        logged["guidance_pixels"] = p_DC[0] != IGNORE
    fraction = len(x.image) / counts.shape[1]  # of the global batch
    return Targets(
        labeled_weight=weights[0],
        valid_pixels=counts[1:2].sum().expand(len(x.image)),
        consistency_weight=weights[2:5],
        p_DC=p_DC,
        guidance_weight=weights[5:],
        logged={name: mask.float().mean() * fraction for name, mask in logged.items()},
    )


def guidance_labels(guide: DenseClip, u: Unlabeled, zeta: float, micro_batch: int) -> PerView:
    """p_DC of the frozen CLIP (Eq. 5), mixed as the images: uint8, `IGNORE` where it is not sure, and on padding."""

    def ask(image: Tensor) -> Tensor:
        said = [guide(part) for part in image.split(micro_batch)]
        return torch.cat([torch.where(p.confidence >= zeta, p.label, IGNORE).to(torch.uint8) for p in said])

    mixed = u.mix(ask(u.weak), None if u.partner is None else ask(u.partner))
    return tuple(torch.where(valid, label, IGNORE) for label, valid in zip(mixed, u.valid, strict=True))


def _counted(reduction: str, masks: PerView) -> list[Tensor]:
    """Pixels of each image that a reduction counts, `[B]` for each view."""
    if reduction == "mean_all":
        return [mask.new_full((len(mask),), mask[0].numel(), dtype=torch.int64) for mask in masks]
    return [mask.sum(dim=(1, 2)) for mask in masks]
