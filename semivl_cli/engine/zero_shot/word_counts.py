"""Counts, on labelled images, which concept wins which pixels and what guidance would do without it (Sec. 3.5).

The guidance is the one of training: every labelled image is cut into windows of the crop's size, and each
window is read by itself. One pass of the image tower gives the similarities of all concepts; everything else, also the
guidance without one of the concepts, is computed from these and kept as counts of pixels, so memory does not depend on
the number of images. Pixels whose label is `IGNORE` count nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice, product
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from semivl_cli.class_ids import IGNORE
from semivl_cli.data.load.samples import val_samples
from semivl_cli.engine.assemble import Material
from semivl_cli.engine.infer.metrics import confusion
from semivl_cli.engine.zero_shot.segmenter import ZeroShotSegmenter
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.pixels import resize
from semivl_cli.reporter import Reporter

_SIDE = 128
"""Guidance without a concept is computed on at most this many rows and columns of a window, evenly spread."""

_AT_ONCE = 2**25
"""Numbers in the largest tensor of a batch of windows."""


class Counts(NamedTuple):
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


def count_words(material: Material, segmenter: ZeroShotSegmenter, reporter: Reporter) -> Counts:
    """Count over the labelled images of a training."""
    config, records = segmenter.config, material.index.labeled
    crop, total = config.data.crop, None
    samples = val_samples(
        records,
        material.dataset,
        segmenter.names,
        short_side=config.evaluation.short_side,
        value_range=config.data.value_range,
        workers=0,
    )
    reporter.start("score", len(records))
    done = 0
    for together in _batches(_windows(samples, crop), max(min(8, _AT_ONCE // (len(segmenter.texts) * crop**2)), 1)):
        image = torch.from_numpy(np.stack([window for window, _, _ in together])).to(segmenter.device)
        label = torch.from_numpy(np.stack([ids for _, ids, _ in together])).to(segmenter.device)
        similarities = segmenter.guide.similarities(image.permute(0, 3, 1, 2))
        found = count(similarities, label, segmenter.guide, segmenter.class_of_text, config.guidance.zeta)
        total = Counts(*map(Tensor.add_, total, found)) if total else found
        done += sum(last for _, _, last in together)
        reporter.advance("score", done, {})
    reporter.finish("score")
    assert total is not None, "a training has labelled images"
    return total


@torch.no_grad()
def count(
    similarities: Tensor, label: Tensor, guide: DenseClip, class_of_concept: Sequence[int], zeta: float
) -> Counts:
    """Count the pixels of some windows, whose labels are class ids uint8 `[B, H, W]`.

    `similarities`: of every patch with every concept, float32 `[B, K, h, w]`, which `guide` turns into p_DC.
    """
    size = (label.shape[1], label.shape[2])
    owner = torch.tensor(class_of_concept, device=label.device)
    confidence, predicted = guide.of_classes(similarities, size).max(dim=1)  # [B, H, W]
    rivals = resize(similarities, size).masked_fill(owner[:, None, None] != predicted[:, None], -torch.inf)
    winner = rivals.argmax(dim=1)  # [B, H, W]: the concept of the predicted class that is most similar
    wrong = (predicted != label) & ~_near(label, predicted, similarities.shape[2:])
    labels = (label, label.where(confidence >= zeta, IGNORE), label.where(wrong, IGNORE))
    won, sure, astray = (confusion(winner, one, max(class_of_concept) + 1, len(class_of_concept)) for one in labels)

    rows, columns = (min(side, _SIDE) for side in size)
    sparse = F.interpolate(label[:, None], size=(rows, columns), mode="nearest-exact")[:, 0]
    sampled = _confusions(guide.of_classes(similarities, (rows, columns)), sparse, zeta)
    without = sampled.new_zeros((len(class_of_concept), *sampled.shape))
    for concept, class_id in enumerate(class_of_concept):
        if class_of_concept.count(class_id) > 1:
            left = similarities.clone()
            left[:, concept] = -torch.inf
            without[concept] = _confusions(guide.of_classes(left, (rows, columns)), sparse, zeta)
    return Counts(won, sure, astray, sampled, without)


def _confusions(probabilities: Tensor, label: Tensor, zeta: float) -> Tensor:
    """`[B, N, H, W]` -> int64 `[2, N, N]` by true and predicted class: of all pixels, and of those that reach zeta."""
    confidence, predicted = probabilities.max(dim=1)
    labels = (label, label.where(confidence >= zeta, IGNORE))
    return torch.stack([confusion(predicted, counted, probabilities.shape[1]) for counted in labels])


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
        spans = list(product(_spans(height, crop), _spans(width, crop)))
        for k, ((top, new_top, bottom), (left, new_left, right)) in enumerate(spans):
            ids = np.full((bottom - top, right - left), IGNORE, np.uint8)
            ids[new_top - top :, new_left - left :] = label[new_top:bottom, new_left:right]
            yield image[top:bottom, left:right], ids, k == len(spans) - 1


def _spans(size: int, crop: int) -> list[tuple[int, int, int]]:
    """Start, first position not seen before, and end of each window along a side."""
    return [(max(min(new, size - crop), 0), new, min(new + crop, size)) for new in range(0, size, crop)]


def _batches(windows: Iterable[Window], most: int) -> Iterator[list[Window]]:
    """Collect neighbours of one size."""
    for _, alike in groupby(windows, key=lambda window: window[0].shape):
        while together := list(islice(alike, most)):
            yield together
