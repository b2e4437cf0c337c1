"""What segments images, by whatever means: a trained model, or the frozen CLIP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from semivl_cli.concepts.schema import Color, Definition
from semivl_cli.config import RunConfig


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

    @abstractmethod
    def predict(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Segment one image: uint8 RGB `[H, W, 3]` -> class ids uint8 `[H, W]`."""
