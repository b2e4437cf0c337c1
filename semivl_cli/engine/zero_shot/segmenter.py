"""A definition read by the frozen dense CLIP (Sec. 3.5): image -> classes, confidence, winning concepts; no run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivl_cli.concepts.load import parse_definition, shipped
from semivl_cli.concepts.prompts import texts
from semivl_cli.concepts.schema import Definition
from semivl_cli.config import RunConfig, resolve
from semivl_cli.data.registry import available, find_package_file, open_dataset
from semivl_cli.engine.build import build_guide, open_clip_of, read_definition
from semivl_cli.engine.device import autocast, pick_device
from semivl_cli.engine.infer.windows import Inference, Model, class_scores, scores_at
from semivl_cli.engine.settings import configure
from semivl_cli.errors import InputError
from semivl_cli.model.clip_weights import FROM_WEIGHTS, describes_itself
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.pixels import resize
from semivl_cli.reporter import Reporter

DEFAULT_TAG = "openai"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the frozen CLIP makes of one image, at the image's own size."""

    ids: NDArray[np.uint8]
    """Most probable class, `[H, W]`."""
    confidence: NDArray[np.float32]
    """Its probability p_DC, 0..1, `[H, W]`."""
    texts: NDArray[np.intp]
    """Which text speaks for that class: row of `FrozenClip.texts`, `[H, W]`."""


@dataclass(frozen=True, kw_only=True)
class FrozenClip:
    """A definition and a CLIP that no training has touched, ready for images."""

    definition: Definition
    config: RunConfig
    """Where zeta, temperature, aggregation, text variant and window sizes come from."""
    guide: DenseClip
    texts: tuple[str, ...]
    """What CLIP compares with, `[K]`: concepts (`guidance.text = "max"`), else one text a class."""
    class_of_text: tuple[int, ...]
    """Class id of each text, `[K]`."""
    clip_name: str
    clip_sha256: str
    device: torch.device

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by id."""
        return self.definition.names

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """Class colours by id."""
        return self.definition.colors

    @property
    def zeta(self) -> float:
        """Confidence from which a pixel would guide a training (Eq. 4)."""
        return self.config.guidance.zeta

    def predict(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Segment one image: uint8 RGB `[H, W, 3]` -> class ids uint8 `[H, W]`."""
        maps = self._maps(image, self.guide.probabilities)
        ids, _ = _largest(maps, range(maps.shape[1]), (image.shape[0], image.shape[1]))
        return ids.to(torch.uint8).cpu().numpy()

    def look(self, image: NDArray[np.uint8]) -> Seen:
        """Tell what CLIP sees and by which words: uint8 RGB `[H, W, 3]` -> maps of the image's size."""
        classes, size = len(self.names), (image.shape[0], image.shape[1])
        maps = self._maps(image, self._probabilities_and_similarities)
        ids, confidence = _largest(maps, range(classes), size)
        rows = range(classes, classes + len(self.texts))
        texts, _ = _largest(maps, rows, size, among=(ids, self.class_of_text))
        return Seen(
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
        parts = [self.guide.of_classes(similarities, size), resize(similarities.float(), size)]
        return torch.cat(parts, dim=1)


def _largest(
    maps: Tensor,
    channels: range,
    size: tuple[int, int],
    among: tuple[Tensor, tuple[int, ...]] | None = None,
) -> tuple[Tensor, Tensor]:
    """Find the largest of some channels of `[1, C, h, w]` at `size`; one is resized at a time, photos being large.

    Args:
        maps: what is compared.
        channels: which of them.
        size: of the result.
        among: a map of class ids `[*size]` and the class of each channel: only channels of that class compete there.

    Returns:
        Int64 `[*size]`, counted from the first channel, and the largest values.
    """
    index = torch.zeros(size, dtype=torch.int64, device=maps.device)
    value = torch.full(size, -torch.inf, device=maps.device)
    for number, channel in enumerate(channels):
        candidate = scores_at(maps[:, channel : channel + 1], size)[0, 0]
        wins = candidate > value
        if among is not None:
            wins &= among[0] == among[1][number]
        index[wins] = number
        value = torch.where(wins, candidate, value)
    return index, value


def open_frozen(
    *, definition: str | None, weights: str | None, dataset: str | None, device: str, reporter: Reporter
) -> FrozenClip:
    """Load a definition and the CLIP that reads it, without a run.

    Args:
        definition: shipped name or file; `None`: the dataset's own.
        weights: `MODEL[:TAG]` or a file; `None`: those of the recipe.
        dataset: whose recipe rules (weights, zeta, temperature, windows); `None`: `dataset_of` the definition.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        reporter: hears what was taken.

    Raises:
        InputError: neither definition nor dataset, unknown names, weights that are absent or do not fit, words that
            the text tower cannot tell apart.
    """
    config = frozen_config(definition=definition, weights=weights, dataset=dataset)
    return build_frozen(config, device, reporter)


def build_frozen(config: RunConfig, device: str, reporter: Reporter) -> FrozenClip:
    """Load the definition and the CLIP that the settings name; the arguments and errors are those of `open_frozen`."""
    plugin = open_dataset(config.dataset)
    words = parse_definition(*read_definition(config, plugin))
    clip = open_clip_of(config, plugin, reporter)
    where = pick_device(device)
    variant = config.guidance.text
    found = texts(words, "concepts" if variant == "max" else "name", config.fidelity == "published")
    return FrozenClip(
        definition=words,
        config=config,
        guide=build_guide(config, clip, words).to(where),
        texts=found.texts,
        class_of_text=found.class_of_text,
        clip_name=clip.name,
        clip_sha256=clip.sha256,
        device=where,
    )


def frozen_config(*, definition: str | None, weights: str | None, dataset: str | None) -> RunConfig:
    """Settings of a CLIP without a run: the recipe of the dataset (given, or `dataset_of`), else the defaults."""
    if definition is None and dataset is None:
        raise InputError("no words were given: name a class definition (--definition NAME|FILE) or a --dataset")
    own = dataset or dataset_of(definition or "")
    config = configure({"dataset": own}) if own else RunConfig()
    changes: dict[str, Any] = {}
    if definition is not None:
        changes["data"] = {"definition": definition}
    if weights is not None:
        clip, tag = parse_weights(weights, config.model.clip)
        changes["model"] = {"clip": clip, "weights": tag}
    return resolve(config.model_dump(), changes)


def dataset_of(definition: str) -> str | None:
    """Name the dataset whose own definition this is, by its name or its file; `None` where no usable plugin's is."""
    if definition not in shipped() and not Path(definition).is_file():
        return None
    usable = [name for name, reason in available().items() if reason is None]
    plugins = [open_dataset(name) for name in usable]
    own = {one.name: str(find_package_file(one, one.definition) or one.definition) for one in plugins}
    owners = [name for name in usable if own.get(name) == definition]
    return definition if definition in owners else next(iter(owners), None)


def parse_weights(given: str, clip: str | dict[str, Any]) -> tuple[str | dict[str, Any], str]:
    """Read `MODEL`, `MODEL:TAG`, `MODEL:FILE` or `FILE` as `model.clip` and `model.weights`.

    Args:
        given: what the user wrote; a model without a tag means OpenAI's weights.
        clip: model of a file that does not say itself which it is.
    """
    model, colon, tag = given.partition(":")
    path = Path(given)
    if colon and not path.is_file():
        return model, tag
    if path.is_file() or path.suffix in (".safetensors", ".bin", ".pt", ".pth"):
        if describes_itself(path):
            return FROM_WEIGHTS, given
        return ("ViT-B-16" if clip == FROM_WEIGHTS else clip), given
    return given, DEFAULT_TAG
