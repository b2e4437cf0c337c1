"""ADE20K (scene parsing, 150 classes): 20,210 training and 2,000 validation images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import IGNORE, Record, Split
from semivl_cli.data.ids import read_ids
from semivl_cli.errors import InputError

_SPLITS = Path(__file__).parent / "splits"
_TRAINING_IMAGES = 20210
_CLASSES = 150


class ADE20K:
    """Reads `images/{training,validation}/` and `annotations/{training,validation}/`."""

    name = "ade20k"
    definition = "ade20k"
    recipe = "recipe.toml"

    def records(self, root: Path, split: Split) -> Iterator[Record]:
        """Yield the protocol's records."""
        folder = "training" if split == "train" else "validation"
        images, masks = root / "images" / folder, root / "annotations" / folder
        if not images.is_dir() or not masks.is_dir():
            raise InputError(
                f"{root}: expected ADE20K (ADEChallengeData2016) there, that is images/{folder}/ and "
                f"annotations/{folder}/; --root names another place"
            )
        train = (f"ADE_train_{number:08d}" for number in range(1, _TRAINING_IMAGES + 1))
        for name in train if split == "train" else read_ids(_SPLITS / "val.txt"):
            yield Record(id=name, image=images / f"{name}.jpg", label=masks / f"{name}.png")

    def class_ids(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Shift the raw values: 0 is "other" and ignored, 1..150 become the classes 0..149."""
        shifted = np.where(raw == 0, IGNORE, raw.astype(np.int64) - 1)
        # A value that is no class stays none: 254 is refused with the file's name.
        return np.where(
            (raw > _CLASSES) & (raw != IGNORE), IGNORE - 1, np.where(raw == IGNORE, IGNORE, shifted)
        ).astype(np.uint8)
