"""Pascal VOC 2012 with the augmented training set: 10,582 training and 1,449 validation images of 21 classes."""

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
_LAYOUTS = ("", "VOC2012", "VOCdevkit/VOC2012")
_MASKS = ("SegmentationClassAug", "SegmentationClass")


class VOC:
    """Reads a VOCdevkit, its VOC2012, or a flat folder with `JPEGImages/` and `SegmentationClassAug/`."""

    name = "voc"
    definition = "voc"
    recipe = "recipe.toml"

    def records(self, root: Path, split: Split) -> Iterator[Record]:
        """Yield the protocol's records; without the augmented masks most training images can only be unlabelled."""
        home, masks = _find(root)
        for name in read_ids(_SPLITS / f"{split}.txt"):
            yield Record(id=name, image=home / "JPEGImages" / f"{name}.jpg", label=masks / f"{name}.png")

    def class_ids(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the raw values: VOC stores class ids, and 255 on borders."""
        # What does not fit into a byte becomes 254, which is no class, instead of wrapping round to one.
        return np.where(raw > IGNORE, IGNORE - 1, raw).astype(np.uint8)


def _find(root: Path) -> tuple[Path, Path]:
    """Return the folder that holds `JPEGImages/`, and the folder of masks."""
    for home in (root / layout for layout in _LAYOUTS):
        masks = next((home / folder for folder in _MASKS if (home / folder).is_dir()), None)
        if masks is not None and (home / "JPEGImages").is_dir():
            return home, masks
    raise InputError(
        f"{root}: expected Pascal VOC 2012 there, that is JPEGImages/ and SegmentationClassAug/ "
        f"(or SegmentationClass/), directly or in VOCdevkit/VOC2012/; --root names another place"
    )
