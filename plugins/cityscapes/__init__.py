"""Cityscapes (fine annotations, 19 classes): 2,975 training and 500 validation images of 2048 x 1024 pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import IGNORE, Record, Split
from semivl_cli.data.ids import read_ids
from semivl_cli.errors import InputError

_SPLITS = Path(__file__).parent / "splits"
_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Values of `_labelIds.png` that become the classes 0..18; all others are ignored."""


class Cityscapes:
    """Reads `leftImg8bit/` and `gtFine/`, whose masks are `_labelTrainIds.png` or else `_labelIds.png`."""

    name = "cityscapes"
    definition = "cityscapes"
    recipe = "recipe.toml"

    def __init__(self) -> None:
        self._class_of_value = _table(range(len(_LABEL_IDS)))

    def records(self, root: Path, split: Split) -> Iterator[Record]:
        """Yield the protocol's records; the masks' kind is that of the first mask that is there."""
        images, masks = root / "leftImg8bit" / split, root / "gtFine" / split
        if not images.is_dir() or not masks.is_dir():
            raise InputError(
                f"{root}: expected Cityscapes there, that is leftImg8bit/{split}/ and gtFine/{split}/; "
                "--root names another place"
            )
        trained = next(masks.rglob("*_gtFine_labelTrainIds.png"), None) is not None
        kind = "labelTrainIds" if trained else "labelIds"
        self._class_of_value = _table(range(len(_LABEL_IDS)) if trained else _LABEL_IDS)
        for name in read_ids(_SPLITS / f"{split}.txt"):
            image = images / f"{name}_leftImg8bit.png"
            yield Record(id=name, image=image, label=masks / f"{name}_gtFine_{kind}.png")

    def class_ids(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Translate raw values of the kind that `records` found last."""
        ids: NDArray[np.uint8] = self._class_of_value[np.clip(raw, 0, IGNORE)]
        return ids


def _table(values: Iterable[int]) -> NDArray[np.uint8]:
    table = np.full(IGNORE + 1, IGNORE, np.uint8)
    for class_id, value in enumerate(values):
        table[value] = class_id
    return table
