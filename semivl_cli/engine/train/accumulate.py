"""The gradient of a whole batch, some images at a time: micro-batches add up to it exactly."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

from torch import Tensor

from semivl_cli.config import RunConfig
from semivl_cli.engine.device import autocast
from semivl_cli.engine.distributed.gradients import GradientBuckets
from semivl_cli.engine.train.guidance_labels import Targets
from semivl_cli.engine.train.inputs import Labeled, Unlabeled
from semivl_cli.engine.train.step import step_losses
from semivl_cli.model.semivl import SemiVL

T = TypeVar("T", Labeled, Unlabeled | None, Targets)


def accumulate_gradients(
    model: SemiVL,
    x: Labeled,
    u: Unlabeled | None,
    targets: Targets,
    config: RunConfig,
    lambda_DC: float,
    micro_batch: int,
    buckets: GradientBuckets | None = None,
) -> dict[str, Tensor]:
    """Add the gradient of this process's images to the parameters, `micro_batch` images at a time.

    Among several processes `buckets` takes the gradients to the others; its `all_reduce` is still to be called.

    Returns:
        The terms of the loss and the shares of accepted pixels as scalar tensors on the device: what this process
        adds to those of the global batch.
    """
    buckets = buckets or GradientBuckets()
    sums: dict[str, Tensor] = {}
    for start in range(0, len(x.image), micro_batch):
        images = slice(start, start + micro_batch)
        with autocast(config, x.image.device):
            losses = step_losses(
                model, part_of(x, images), part_of(u, images), part_of(targets, images), config, lambda_DC
            )
        buckets.backward(losses["loss"], last=images.stop >= len(x.image))
        for name, value in losses.items():
            sums[name] = sums.get(name, 0) + value.detach()
    return sums | targets.logged


def part_of(whole: T, images: slice) -> T:
    """The same record of some of its images."""
    if whole is None:
        return whole

    def cut(value: Any) -> Any:  # noqa: ANN401 - the type of the field
        if isinstance(value, tuple):
            return tuple(item[images] for item in value)
        return value[images] if isinstance(value, Tensor) else value

    return replace(whole, **{field.name: cut(getattr(whole, field.name)) for field in fields(whole)})
