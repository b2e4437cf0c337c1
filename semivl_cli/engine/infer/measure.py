"""A model and labelled images -> per-class IoU and mIoU, by the same inference that prediction uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import torch

from semivl_cli.data.contract import Dataset, Record
from semivl_cli.data.load.samples import Sample, val_samples
from semivl_cli.engine.device import autocast
from semivl_cli.engine.distributed.group import ALONE, ProcessGroup
from semivl_cli.engine.infer.metrics import confusion, labeled_iou, mean_iou, mean_present
from semivl_cli.engine.infer.windows import Inference, class_scores, classes_at
from semivl_cli.model.semivl import SemiVL
from semivl_cli.reporter import Reporter

FEW = 5
"""Images below which a score says more about them than about the model."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """IoU of every class and their means, 0..1."""

    miou: float
    """Mean over all classes, as published: one that the labels do not show counts as 0."""
    miou_present: float | None = None
    """Mean over the classes that the labels show; `None` where they show none, or an earlier version counted."""
    iou: dict[str, float | None]
    """`None` where the labels do not show the class (0 where an earlier version counted)."""
    pixels: dict[str, int] = field(default_factory=dict)
    """Labelled pixels of each class; empty where an earlier version counted."""
    step: int
    images: int
    predicted: dict[str, float] = field(default_factory=dict)
    """Share of the counted pixels that were predicted as each class, 0..1; not kept."""

    @staticmethod
    def of(saved: Mapping[str, Any]) -> Scores:
        """Return what `scores.json` holds under one of its keys."""
        return Scores(
            miou=saved["miou"],
            miou_present=saved.get("miou_present"),
            iou=dict(saved["iou"]),
            pixels=dict(saved.get("pixels", {})),
            step=saved["step"],
            images=saved["images"],
        )

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes that the labels do not show."""
        return tuple(name for name, value in self.iou.items() if value is None)

    @property
    def caution(self) -> str | None:
        """What to say where so little was scored that the numbers mean little."""
        if self.pixels and not any(self.pixels.values()):
            return "no pixel of the images that were scored is labelled: the numbers mean nothing"
        if self.images >= FEW:
            return None
        images = "one image is" if self.images == 1 else f"{self.images} images are"
        return f"{images} all that was scored: the numbers mean little, other images may give quite different ones"

    def labeled(self, name: str) -> float:
        """Share of the counted pixels that are labelled as a class, 0..1."""
        return self.pixels[name] / max(sum(self.pixels.values()), 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the object that `scores.json` holds."""
        names = ("miou", "miou_present", "iou", "pixels", "step", "images")
        return {name: getattr(self, name) for name in names}


def measure_iou(
    model: SemiVL,
    records: Sequence[Record],
    dataset: Dataset,
    names: Sequence[str],
    how: Inference,
    *,
    step: int,
    reporter: Reporter,
    process_group: ProcessGroup = ALONE,
    between: Callable[[], None] | None = None,
) -> Scores:
    """Segment every image at its own size and count pixels over the whole set.

    Processes take turns by blocks of images, none twice; what is computed together does not depend on their number.
    `between` is called between images; what it raises ends the evaluation.
    """
    device = model.text.device
    model.eval()
    matrix = torch.zeros(len(names), len(names), dtype=torch.int64, device=device)
    blocks = [range(start, min(start + how.at_once, len(records))) for start in range(0, len(records), how.at_once)]
    own = [number for block in blocks[process_group.rank :: process_group.world_size] for number in block]
    reporter.start("evaluate", len(own))
    samples = val_samples(
        [records[number] for number in own],
        dataset,
        names,
        short_side=how.config.evaluation.short_side,
        value_range=how.config.data.value_range,
        workers=how.config.data.workers,
        sharing=process_group.sharing,
    )
    done = 0
    with closing(samples):
        for together in _batches(samples, [number // how.at_once for number in own]):
            pixels = torch.from_numpy(np.stack([image for _, image, _ in together])).to(device).permute(0, 3, 1, 2)
            with autocast(how.config, device):
                scores = class_scores(model, pixels, how).float()
            for (_, _, label), score in zip(together, scores.split(1), strict=True):
                prediction = classes_at(score, (label.shape[0], label.shape[1]))
                matrix += confusion(prediction[0], torch.from_numpy(label).to(device), len(names))
            done += len(together)
            reporter.advance("evaluate", done, {})
            if between is not None:
                between()
    process_group.all_reduce(matrix)
    reporter.finish("evaluate")
    model.train()
    matrix = matrix.cpu()
    iou, predicted = labeled_iou(matrix), matrix.sum(0) / matrix.sum().clamp(min=1)
    return Scores(
        miou=mean_iou(matrix),
        miou_present=mean_present(iou),
        iou=dict(zip(names, iou, strict=True)),
        pixels=dict(zip(names, matrix.sum(1).tolist(), strict=True)),
        step=step,
        images=len(records),
        predicted=dict(zip(names, predicted.tolist(), strict=True)),
    )


def _batches(samples: Iterator[Sample], blocks: Sequence[int]) -> Iterator[list[Sample]]:
    """Collect neighbours of one block and size: small images keep the device busy only together."""
    numbered = zip(blocks, samples, strict=True)
    for _, together in groupby(numbered, key=lambda pair: (pair[0], pair[1][1].shape)):
        yield [sample for _, sample in together]
