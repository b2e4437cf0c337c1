"""An image of any size -> class scores, whole or by sliding windows; used by evaluation and prediction alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from semivl_cli.config import RunConfig
from semivl_cli.data.read.views import at_short_side

Model = Callable[[Tensor], Tensor]
"""uint8 RGB `[B, 3, H, W]` -> logits `[B, N, H, W]`."""

Window = tuple[int, int, int, int]
"""Top, left, height and width."""


@dataclass(frozen=True)
class Inference:
    """How images are seen, cut into windows, and the windows' answers made one."""

    config: RunConfig
    smallest: int = 1
    """Windows with a shorter side are padded to it: the decoder needs a few patches to reason over."""
    at_once: int = 8
    """Windows that are computed at once."""

    @property
    def crop(self) -> int:
        """Side of a window in pixels."""
        return self.config.data.crop

    @property
    def stride(self) -> int:
        """Step from window to window in pixels, never longer than a window: what lies between has no answer."""
        return min(self.config.evaluation.stride or int(self.crop * 2 / 3), self.crop)

    def averaging(self) -> Inference:
        """Return the same windows with their answers averaged as they are: for maps that are no logits."""
        evaluation = self.config.evaluation.model_copy(update={"mode": "averaged_logits"})
        return replace(self, config=self.config.model_copy(update={"evaluation": evaluation}))

    def pixels(self, image: NDArray[np.uint8], device: torch.device) -> Tensor:
        """Scale an image as evaluation and prediction see it: uint8 RGB `[H, W, 3]` -> `[1, 3, h, w]` on `device`."""
        seen = at_short_side(image, self.config.evaluation.short_side)
        return torch.tensor(seen).to(device).permute(2, 0, 1)[None]


@torch.inference_mode()
def class_scores(model: Model, image: Tensor, how: Inference) -> Tensor:
    """Score every pixel: uint8 RGB `[B, 3, H, W]` on the model's device -> `[B, N, H, W]`.

    The scores are mean logits, sums of probabilities, or logits, by the mode; their argmax is the class.
    """
    height, width = image.shape[2:]
    if how.config.evaluation.mode == "whole":
        [(_, scores)] = _answers(model, image, [(0, 0, height, width)], how)
        return scores
    summed = how.config.evaluation.mode == "summed_probabilities"
    rows, columns = (_starts(side, how, cut=summed) for side in (height, width))
    windows = [(y, x, min(how.crop, height - y), min(how.crop, width - x)) for y in rows for x in columns]
    total: Tensor | None = None
    count = image.new_zeros((1, 1, height, width), dtype=torch.float32)
    for (y, x, h, w), logits in _answers(model, image, windows, how):
        if total is None:
            total = logits.new_zeros((*logits.shape[:2], height, width))
        total[:, :, y : y + h, x : x + w] += logits.softmax(dim=1) if summed else logits
        count[:, :, y : y + h, x : x + w] += 1
    assert total is not None
    return total if summed else total.div_(count)  # in place: maps of a large photograph are what memory is needed for


def scores_at(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize scores `[B, N, H, W]` to `size`, corner to corner."""
    if scores.shape[2:] == size:
        return scores
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=True)


def classes_at(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize scores `[B, N, H, W]` to `size` and take the best class: uint8 `[B, *size]`."""
    return scores_at(scores, size).argmax(dim=1).to(torch.uint8)


def _starts(size: int, how: Inference, cut: bool) -> list[int]:
    """Where windows begin along a side; the last ones are `cut` at the border, or moved inside."""
    if cut:
        return list(range(0, size, how.stride))
    last = max(size - how.crop, 0)
    return [min(start, last) for start in range(0, last + how.stride, how.stride)]


def _answers(model: Model, image: Tensor, windows: list[Window], how: Inference) -> Iterator[tuple[Window, Tensor]]:
    """Run the model on windows, as many of one size at once as allowed; the logits `[B, N, h, w]` of each."""
    ordered = sorted(windows, key=lambda window: window[2:])
    for (h, w), group in groupby(ordered, key=lambda window: window[2:]):
        same = list(group)
        at_once = max(how.at_once // len(image), 1)
        for start in range(0, len(same), at_once):
            chunk = same[start : start + at_once]
            cut = torch.cat([image[:, :, y : y + h, x : x + w] for y, x, _, _ in chunk])
            cut = F.pad(cut, (0, max(how.smallest - w, 0), 0, max(how.smallest - h, 0)))
            yield from zip(chunk, model(cut)[:, :, :h, :w].split(len(image)), strict=True)
