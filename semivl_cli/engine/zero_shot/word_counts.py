"""Counts, on labelled images, which concept wins which pixels and what guidance would do without it (Sec. 3.5).

The guidance is the one of training: every labelled image is cut into windows of the crop's size, and each
window is read by itself. One pass of the image tower gives the similarities of all concepts; everything else, also the
guidance without one of the concepts, is computed from these and kept as counts of pixels, so memory does not depend on
the number of images. Pixels whose label is `IGNORE` count nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice, product

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from semivl_cli.class_ids import IGNORE
from semivl_cli.data.load.samples import val_samples
from semivl_cli.engine.build import Material
from semivl_cli.engine.infer.metrics import confusion
from semivl_cli.engine.zero_shot.segmenter import ZeroShotSegmenter
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.pixels import resize
from semivl_cli.reporter import Reporter

_SIDE = 128
"""Guidance without a concept is computed on at most this many rows and columns of a window, evenly spread."""

_AT_ONCE = 2**25
"""Numbers in the largest tensor of a batch of windows."""


@dataclass(kw_only=True)
class Counts:
    """Pixels counted over all images; int64 on the model's device."""

    won: Tensor
    """`[N, K]`: by true class and by the concept that wins the pixel."""
    sure: Tensor
    """`[N, K]`: those of `won` whose confidence reaches zeta: what guidance would teach."""
    astray: Tensor
    """`[N, K]`: those of `won` that are wrong and lie more than a patch away from any pixel of the concept's class."""
    sampled: Tensor
    """`[2, N, N]`: by true and by predicted class, of all pixels and of those that reach zeta; sampled as `without`."""
    without: Tensor
    """`[K, 2, N, N]`: the same without one concept; zero for the only concept of a class."""

    def add(self, other: Counts) -> None:
        """Add the counts of other images."""
        for name in ("won", "sure", "astray", "sampled", "without"):
            getattr(self, name).add_(getattr(other, name))


def count_words(material: Material, segmenter: ZeroShotSegmenter, reporter: Reporter) -> Counts:
    """Count over the labelled images of a training.

    Args:
        material: its images and their labels.
        segmenter: the definition as CLIP reads it.
        reporter: hears how far it is.
    """
    config, records = segmenter.config, material.index.labeled
    crop, number = config.data.crop, len(segmenter.texts)
    total = no_counts(len(segmenter.names), number, segmenter.device)
    samples = val_samples(
        records, material.dataset, segmenter.names, short_side=config.evaluation.short_side, workers=0
    )
    reporter.start("score", len(records))
    done = 0
    for together in _batches(_windows(samples, crop), max(min(8, _AT_ONCE // (number * crop**2)), 1)):
        image = torch.from_numpy(np.stack([window for window, _, _ in together])).to(segmenter.device)
        label = torch.from_numpy(np.stack([ids for _, ids, _ in together])).to(segmenter.device)
        similarities = segmenter.guide.similarities(image.permute(0, 3, 1, 2))
        total.add(count(similarities, label, segmenter.guide, segmenter.class_of_text, segmenter.zeta))
        done += sum(last for _, _, last in together)
        reporter.advance("score", done, {})
    reporter.finish("score")
    return total


def no_counts(classes: int, concepts: int, device: torch.device) -> Counts:
    """Nothing counted yet."""

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.int64, device=device)

    return Counts(
        won=zeros(classes, concepts),
        sure=zeros(classes, concepts),
        astray=zeros(classes, concepts),
        sampled=zeros(2, classes, classes),
        without=zeros(concepts, 2, classes, classes),
    )


@torch.no_grad()
def count(
    similarities: Tensor, label: Tensor, guide: DenseClip, class_of_concept: Sequence[int], zeta: float
) -> Counts:
    """Count the pixels of some windows.

    Args:
        similarities: of every patch with every concept, float32 `[B, K, h, w]`.
        label: class ids uint8 `[B, H, W]`.
        guide: turns similarities into p_DC, with its temperature and aggregation.
        class_of_concept: class id of each concept, `[K]`.
        zeta: confidence from which a pixel guides.
    """
    size = (label.shape[1], label.shape[2])
    owner = torch.tensor(class_of_concept, device=label.device)
    classes, concepts = int(owner.max()) + 1, len(owner)
    total = no_counts(classes, concepts, label.device)

    confidence, predicted = guide.of_classes(similarities, size).max(dim=1)  # [B, H, W]
    rivals = resize(similarities, size).masked_fill(owner[:, None, None] != predicted[:, None], -torch.inf)
    winner = rivals.argmax(dim=1)  # [B, H, W]: the concept of the predicted class that is most similar
    wrong = (predicted != label) & ~_near(label, predicted, similarities.shape[2:])
    total.won += _table(label, winner, classes, concepts)
    total.sure += _table(torch.where(confidence >= zeta, label, IGNORE), winner, classes, concepts)
    total.astray += _table(torch.where(wrong, label, IGNORE), winner, classes, concepts)

    rows, columns = (min(side, _SIDE) for side in size)
    sparse = F.interpolate(label[:, None], size=(rows, columns), mode="nearest-exact")[:, 0]
    total.sampled += _confusions(guide.of_classes(similarities, (rows, columns)), sparse, zeta, classes)
    for concept in (owner.bincount()[owner] > 1).nonzero()[:, 0].tolist():  # those whose class has another one
        left = similarities.clone()
        left[:, concept] = -torch.inf
        total.without[concept] = _confusions(guide.of_classes(left, (rows, columns)), sparse, zeta, classes)
    return total


def _confusions(probabilities: Tensor, label: Tensor, zeta: float, classes: int) -> Tensor:
    """int64 `[2, N, N]` by true and predicted class: of all pixels, and of those whose probability reaches zeta."""
    confidence, predicted = probabilities.max(dim=1)
    sure = torch.where(confidence >= zeta, label, IGNORE)
    return torch.stack([confusion(predicted, label, classes), confusion(predicted, sure, classes)])


def _table(label: Tensor, winner: Tensor, classes: int, concepts: int) -> Tensor:
    """int64 `[N, K]`: pixels by true class and winning concept."""
    kept = label != IGNORE
    index = label[kept].long() * concepts + winner[kept]
    return torch.bincount(index, minlength=classes * concepts).view(classes, concepts)


def _near(label: Tensor, predicted: Tensor, grid: Sequence[int]) -> Tensor:
    """Whether a pixel of the predicted class lies in the patch of a pixel or in one of the eight around it."""
    near = torch.zeros_like(label, dtype=torch.bool)
    for class_id in predicted.unique():
        patches = F.adaptive_max_pool2d((label == class_id).float()[:, None], (grid[0], grid[1]))  # [B, 1, h, w]
        around = F.interpolate(F.max_pool2d(patches, 3, stride=1, padding=1), size=label.shape[1:], mode="nearest")
        near |= (predicted == class_id) & (around[:, 0] > 0)
    return near


Window = tuple[NDArray[np.uint8], NDArray[np.uint8], bool]
"""Image `[H, W, 3]`, class ids `[H, W]`, and whether it is the last window of its image."""


def _windows(samples: Iterable[tuple[object, NDArray[np.uint8], NDArray[np.uint8]]], crop: int) -> Iterator[Window]:
    """Cut images into windows; where the last ones overlap others, their labels are ignored, so that all count once."""
    for _, image, mask in samples:
        height, width = image.shape[:2]
        label = mask[np.arange(height) * mask.shape[0] // height][:, np.arange(width) * mask.shape[1] // width]
        places = list(product(_spans(height, crop), _spans(width, crop)))
        for k, ((top, new_top, bottom), (left, new_left, right)) in enumerate(places):
            ids = np.full((bottom - top, right - left), IGNORE, np.uint8)
            ids[new_top - top :, new_left - left :] = label[new_top:bottom, new_left:right]
            yield image[top:bottom, left:right], ids, k == len(places) - 1


def _spans(size: int, crop: int) -> list[tuple[int, int, int]]:
    """Start, first position not seen before, and end of each window along a side."""
    return [(max(min(new, size - crop), 0), new, min(new + crop, size)) for new in range(0, size, crop)]


def _batches(windows: Iterable[Window], most: int) -> Iterator[list[Window]]:
    """Collect neighbours of one size."""
    for _, alike in groupby(windows, key=lambda window: window[0].shape):
        while batch := list(islice(alike, most)):
            yield batch
