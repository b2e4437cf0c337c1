"""A definition read by the frozen dense CLIP (Sec. 3.5): image -> classes, confidence, winning concepts; no run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivl_cli.concepts.load import parse_definition
from semivl_cli.concepts.prompts import texts
from semivl_cli.config import RunConfig
from semivl_cli.data.registry import open_dataset
from semivl_cli.engine.assemble import build_guide, clip_of, read_definition
from semivl_cli.engine.device import autocast, pick_device
from semivl_cli.engine.infer.segmenter import Segmenter
from semivl_cli.engine.infer.windows import Inference, Model, class_scores, scores_at
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.pixels import resize
from semivl_cli.reporter import Reporter


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """What the frozen CLIP makes of one image, at the image's own size."""

    ids: NDArray[np.uint8]
    """Most probable class, `[H, W]`."""
    confidence: NDArray[np.float32]
    """Its probability p_DC, 0..1, `[H, W]`."""
    texts: NDArray[np.intp]
    """Which text speaks for that class: row of `ZeroShotSegmenter.texts`, `[H, W]`."""


@dataclass(frozen=True, kw_only=True)
class ZeroShotSegmenter(Segmenter):
    """A definition and a CLIP that no training has touched, ready for images."""

    guide: DenseClip
    texts: tuple[str, ...]
    """What CLIP compares with, `[K]`: concepts (`guidance.text = "max"`), else one text a class."""
    class_of_text: tuple[int, ...]
    """Class id of each text, `[K]`."""
    clip_name: str
    clip_sha256: str

    @property
    def maps(self) -> int:
        """Probabilities of the classes and similarities to the texts."""
        return len(self.names) + len(self.texts)

    def classes_of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Segment uint8 RGB `[H, W, 3]` -> class ids uint8 `[H, W]`."""
        ids, _ = _largest(self._maps(pixels, self.guide.probabilities), (pixels.shape[0], pixels.shape[1]))
        return ids.to(torch.uint8).cpu().numpy()

    def segment(self, image: NDArray[np.uint8]) -> Segmentation:
        """Segment one image and tell by which words: uint8 RGB `[H, W, 3]` -> maps of the image's size."""
        size = (image.shape[0], image.shape[1])
        maps = self._maps(image, self._probabilities_and_similarities)
        probabilities, similarities = maps.split([len(self.names), len(self.texts)], dim=1)
        ids, confidence = _largest(probabilities, size)
        texts, _ = _largest(similarities, size, among=(ids, self.class_of_text))
        return Segmentation(
            ids=ids.to(torch.uint8).cpu().numpy(),
            confidence=confidence.cpu().numpy(),
            texts=texts.cpu().numpy(),
        )

    @torch.inference_mode()
    def _maps(self, image: NDArray[np.uint8], model: Model) -> Tensor:
        """Run `model` on windows as prediction does and average its maps: `[1, C, h, w]`, at the size of its input."""
        how = Inference(self.config)
        how = how if self.config.evaluation.mode == "whole" else how.averaging()
        with autocast(self.config, self.device):
            return class_scores(model, how.pixels(image, self.device), how).float()

    def _probabilities_and_similarities(self, image: Tensor) -> Tensor:
        """uint8 RGB `[B, 3, H, W]` -> p_DC and similarities `[B, N + K, H, W]` from one pass of the encoder."""
        size = (image.shape[2], image.shape[3])
        similarities = self.guide.similarities(image)
        return torch.cat([self.guide.of_classes(similarities, size), resize(similarities.float(), size)], dim=1)


def _largest(
    maps: Tensor, size: tuple[int, int], among: tuple[Tensor, tuple[int, ...]] | None = None
) -> tuple[Tensor, Tensor]:
    """Find the largest channel of `[1, C, h, w]` at `size`, and its value; one is resized at a time: photos are large.

    `among`: a map of class ids `[*size]` and the class of each channel: only channels of that class compete there.
    """
    index = torch.zeros(size, dtype=torch.int64, device=maps.device)
    value = torch.full(size, -torch.inf, device=maps.device)
    for number, channel in enumerate(maps.split(1, dim=1)):
        candidate = scores_at(channel, size)[0, 0]
        wins = candidate > value
        if among is not None:
            wins &= among[0] == among[1][number]
        index[wins] = number
        value = torch.where(wins, candidate, value)
    return index, value


def open_segmenter(config: RunConfig, device: str, reporter: Reporter) -> ZeroShotSegmenter:
    """Load the definition and the CLIP that the settings name, onto a device, as `pick_device` names them.

    Raises:
        InputError: weights that are absent or do not fit, or words that the text tower cannot tell apart.
    """
    plugin = open_dataset(config.dataset)
    words = parse_definition(*read_definition(config, plugin), config.fidelity)
    clip = clip_of(config, plugin, reporter)
    where = pick_device(device)
    found = texts(words, "concepts" if config.guidance.text == "max" else "name")
    return ZeroShotSegmenter(
        definition=words,
        config=config,
        guide=build_guide(config, clip, words).to(where),
        texts=found.texts,
        class_of_text=found.class_of_text,
        clip_name=clip.name,
        clip_sha256=clip.sha256,
        device=where,
    )
