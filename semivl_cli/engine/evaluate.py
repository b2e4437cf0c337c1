"""The validation images -> per-class IoU and mIoU, by the same inference that prediction uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

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
    for done, (_, image, label) in enumerate(samples, start=1):
        pixels = torch.from_numpy(image).to(device).permute(2, 0, 1)[None]
        with autocast:
            scores = class_scores(model, pixels, how)
        prediction = classes_at(scores.float(), (label.shape[0], label.shape[1]))
        matrix += confusion(prediction[0], torch.from_numpy(label).to(device), len(names))
        reporter.advance("evaluate", done, {})
    reporter.finish("evaluate")
    model.train()
    iou = class_iou(matrix.cpu()).tolist()
    return Scores(miou=sum(iou) / len(iou), iou=dict(zip(names, iou, strict=True)), step=step, images=len(records))
