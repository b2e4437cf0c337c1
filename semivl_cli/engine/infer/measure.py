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
from semivl_cli.engine.infer.metrics import class_iou, confusion, mean_iou
from semivl_cli.engine.infer.windows import Inference, class_scores, classes_at
from semivl_cli.model.semivl import SemiVL
from semivl_cli.reporter import Reporter


@dataclass(frozen=True, kw_only=True)
class Scores:
    """IoU of every class and their mean, 0..1."""

    miou: float
    iou: dict[str, float]
    step: int
    images: int
    predicted: dict[str, float] = field(default_factory=dict)
    """Share of the counted pixels that were predicted as each class, 0..1; not kept."""
    labeled: dict[str, float] = field(default_factory=dict)
    """Share of the counted pixels that are labelled as each class, 0..1; not kept."""

    @staticmethod
    def of(saved: Mapping[str, Any]) -> Scores:
        """Return what `scores.json` holds under one of its keys."""
        return Scores(miou=saved["miou"], iou=dict(saved["iou"]), step=saved["step"], images=saved["images"])

    def as_dict(self) -> dict[str, Any]:
        """Return the object that `scores.json` holds."""
        return {"miou": self.miou, "iou": self.iou, "step": self.step, "images": self.images}


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
    predicted, labeled = ((matrix.sum(axis) / matrix.sum().clamp(min=1)).tolist() for axis in (0, 1))
    return Scores(
        miou=mean_iou(matrix),
        iou=dict(zip(names, class_iou(matrix).tolist(), strict=True)),
        step=step,
        images=len(records),
        predicted=dict(zip(names, predicted, strict=True)),
        labeled=dict(zip(names, labeled, strict=True)),
    )


def _batches(samples: Iterator[Sample], blocks: Sequence[int]) -> Iterator[list[Sample]]:
    """Collect neighbours of one block and size: small images keep the device busy only together."""
    numbered = zip(blocks, samples, strict=True)
    for _, together in groupby(numbered, key=lambda pair: (pair[0], pair[1][1].shape)):
        yield [sample for _, sample in together]
