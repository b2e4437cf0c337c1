"""What segments images, by whatever means: a trained model, or the frozen CLIP."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from semivl_cli.concepts.schema import Color, Definition
from semivl_cli.config import RunConfig
from semivl_cli.data.read.brightness import ValueRange
from semivl_cli.data.read.handed_over import ImageLike, shown_of
from semivl_cli.data.read.views import validation_size
from semivl_cli.settings_toml import resolve


@dataclass(frozen=True, kw_only=True)
class Segmenter(ABC):
    """Whatever turns an image into classes: a trained model, or the frozen CLIP."""

    definition: Definition
    config: RunConfig
    device: torch.device

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by id."""
        return self.definition.names

    @property
    def colors(self) -> tuple[Color, ...]:
        """Class colours by id."""
        return self.definition.colors

    @property
    def maps(self) -> int:
        """How many maps of scores an image becomes on its way to class ids."""
        return len(self.names)

    def memory(self, size: tuple[int, int]) -> int:
        """Return about how many bytes of main memory an image of `size` (height, width) takes at least."""
        pixels = size[0] * size[1]
        short_side = self.config.evaluation.short_side
        seen = size if short_side is None else validation_size(size, short_side)
        maps = 4 * self.maps * (seen[0] * seen[1] + (0 if seen == size else pixels))  # float32
        return (8 + 8) * pixels + (maps if self.device.type == "cpu" else 0)  # 8 to decode it, 8 for its ids

    def reading(self, value_range: ValueRange) -> Segmenter:
        """Return the same segmenter for images whose numbers are black and white at the ends of `value_range`."""
        return replace(self, config=resolve(self.config.model_dump(), {"data": {"value_range": list(value_range)}}))

    def predict(self, image: ImageLike) -> NDArray[np.uint8]:
        """Segment one image -> class ids uint8 `[H, W]`, of its size as shown.

        `image`: a path, a Pillow image of any mode, or an array of uint8 (0..255) or uint16 (0..65535): grey `[H, W]`,
        RGB `[H, W, 3]`, or RGBA `[H, W, 4]`. Whichever it is, it is read as a file of it would be. Warns of one of
        more than 8 bits that uses little of the range of its numbers.

        Raises:
            InputError: it is none of these, or a file that cannot be read.
        """
        shown = shown_of(image, self.config.data.value_range)
        if shown.faint:
            warnings.warn(
                "the image uses less than a sixteenth of the range of its numbers and looks nearly black, or like a "
                "single grey: tell which numbers are black and white: model.reading((0, 4095)).predict(image)",
                stacklevel=2,
            )
        return self.classes_of(shown.pixels)

    @abstractmethod
    def classes_of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Segment uint8 RGB `[H, W, 3]` -> class ids uint8 `[H, W]`."""
