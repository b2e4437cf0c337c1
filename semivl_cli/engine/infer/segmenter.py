"""What segments images, by whatever means: a trained model, or the frozen CLIP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from semivl_cli.concepts.schema import Color, Definition
from semivl_cli.config import RunConfig
from semivl_cli.data.read.handed_over import ImageLike, pixels_of


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

    def predict(self, image: ImageLike) -> NDArray[np.uint8]:
        """Segment one image -> class ids uint8 `[H, W]`, of its size as shown.

        `image`: a path, a Pillow image of any mode, or an array of uint8 (0..255) or uint16 (0..65535): grey `[H, W]`,
        RGB `[H, W, 3]`, or RGBA `[H, W, 4]`. Whichever it is, it is read as a file of it would be.

        Raises:
            InputError: it is none of these, or a file that cannot be read.
        """
        return self.classes_of(pixels_of(image, self.config.data.value_range))

    @abstractmethod
    def classes_of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Segment uint8 RGB `[H, W, 3]` -> class ids uint8 `[H, W]`."""
