"""Intersection over union, from integer counts over the whole data set."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from semivl_cli.class_ids import IGNORE


def confusion(prediction: Tensor, label: Tensor, classes: int, choices: int | None = None) -> Tensor:
    """Count pixels by (label, prediction), ids of equal shape: int64 `[N, N]`; `IGNORE` labels are left out.

    `choices`: predictions are of so many other things (concepts) instead of the classes: `[N, choices]`.
    """
    counted, choices = label != IGNORE, choices or classes
    index = label[counted].long() * choices + prediction[counted].long()
    return torch.bincount(index, minlength=classes * choices).view(classes, choices)


def intersection_union(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels of intersection and union of each class, int64 `[N]`, from a confusion matrix `[N, N]`."""
    intersection = matrix.diagonal()
    return intersection, matrix.sum(0) + matrix.sum(1) - intersection


def class_iou(matrix: Tensor) -> Tensor:
    """IoU of each class, 0..1, float64 `[N]`; a class that neither occurs nor is predicted has 0, as published."""
    intersection, union = intersection_union(matrix)
    return intersection.double() / (union.double() + 1e-10)


def mean_iou(matrix: Tensor) -> float:
    """mIoU, 0..1: the mean over all classes, as published."""
    iou: list[float] = class_iou(matrix).tolist()
    return sum(iou) / len(iou)


def labeled_iou(matrix: Tensor) -> list[float | None]:
    """IoU of each class, 0..1; `None` where no pixel is labelled as it: nothing could have been right there.

    What is wrongly predicted as such a class is missed by the class that it is of, and so counts there.
    """
    iou: list[float] = class_iou(matrix).tolist()
    labeled: list[int] = matrix.sum(1).tolist()
    return [value if pixels else None for value, pixels in zip(iou, labeled, strict=True)]


def mean_present(iou: Iterable[float | None]) -> float | None:
    """Mean over the classes that have an IoU; `None` where none has."""
    present = [value for value in iou if value is not None]
    return sum(present) / len(present) if present else None
