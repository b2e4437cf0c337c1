"""COCO 2017 with 80 thing classes and background: 118,287 training and 5,000 validation images."""

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


class COCO:
    """Reads `train2017/`, `val2017/` and `masks/<id>.png` (0 background, 1..80 the things in category order)."""

    name = "coco"
    definition = "coco"
    recipe = "recipe.toml"

    def records(self, root: Path, split: Split) -> Iterator[Record]:
        """Yield every image of `train2017/`, or the images of the validation list."""
        images, masks = root / f"{split}2017", root / "masks"
        if not images.is_dir() or not masks.is_dir():
            raise InputError(
                f"{root}: expected COCO there, that is train2017/, val2017/ and masks/ with one PNG of class ids "
                "an image; --root names another place"
            )
        names = read_ids(_SPLITS / "val.txt") if split == "val" else sorted(path.stem for path in images.glob("*.jpg"))
        for name in names:
            yield Record(id=name, image=images / f"{name}.jpg", label=masks / f"{name}.png")

    def class_ids(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the raw values: class ids, and 255 where nobody knows."""
        # What does not fit into a byte becomes 254, which is no class, instead of wrapping round to one.
        return np.where(raw > IGNORE, IGNORE - 1, raw).astype(np.uint8)
