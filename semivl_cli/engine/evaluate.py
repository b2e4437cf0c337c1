"""The validation images -> per-class IoU and mIoU, by the same inference that prediction uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.contract import Dataset, Record
from ..data.loader import Workers, val_samples
from ..model.semivl import SemiVL
from .infer import Inference, class_scores, classes_at
from .metrics import class_iou, confusion
from .reporter import Reporter


@dataclass(frozen=True, kw_only=True)
class Scores:
    """IoU of every class and their mean, 0..1."""

    miou: float
    iou: dict[str, float]
    step: int
    images: int

    def as_dict(self) -> dict[str, Any]:
        """Return the object that `scores.json` holds."""
        return {"miou": self.miou, "iou": self.iou, "step": self.step, "images": self.images}


def evaluate(
    model: SemiVL,
    records: Sequence[Record],
    dataset: Dataset,
    names: Sequence[str],
    how: Inference,
    *,
    short_side: int | None,
    workers: Workers,
    step: int,
    reporter: Reporter,
    autocast: Any,  # noqa: ANN401 - a context manager that can be entered again
) -> Scores:
    """Segment every validation image at its own size and count pixels over the whole set."""
    device = model.text.device
    model.eval()
    matrix = torch.zeros(len(names), len(names), dtype=torch.int64, device=device)
    reporter.start("evaluate", len(records))
    samples = val_samples(records, dataset, names, short_side=short_side, workers=workers)
    done = 0
    with closing(samples):
        for together in _batches(samples, how.windows):
            pixels = torch.from_numpy(np.stack([image for _, image, _ in together])).to(device).permute(0, 3, 1, 2)
            with autocast:
                scores = class_scores(model, pixels, how).float()
            for (_, _, label), score in zip(together, scores.split(1), strict=True):
                prediction = classes_at(score, (label.shape[0], label.shape[1]))
                matrix += confusion(prediction[0], torch.from_numpy(label).to(device), len(names))
            done += len(together)
            reporter.advance("evaluate", done, {})
    reporter.finish("evaluate")
    model.train()
    iou = class_iou(matrix.cpu()).tolist()
    return Scores(miou=sum(iou) / len(iou), iou=dict(zip(names, iou, strict=True)), step=step, images=len(records))


Sample = tuple[Record, NDArray[np.uint8], NDArray[np.uint8]]


def _batches(samples: Iterator[Sample], most: int) -> Iterator[list[Sample]]:
    """Collect neighbours of one size, at most `most`: small images keep the device busy only together."""
    together: list[Sample] = []
    for sample in samples:
        if together and (len(together) == most or together[0][1].shape != sample[1].shape):
            yield together
            together = []
        together.append(sample)
    if together:
        yield together
