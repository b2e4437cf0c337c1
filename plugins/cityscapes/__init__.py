"""Cityscapes (fine annotations, 19 classes): 2,975 training and 500 validation images of 2048 x 1024 pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import IGNORE, SPLITS, Classes, Record, Say, Source, Split
from semivl_cli.data.ids import read_ids
from semivl_cli.data.obtain import Archive, find_home, obtain
from semivl_cli.errors import InputError

ARCHIVES = (
    Archive(name="leftImg8bit_trainvaltest.zip", holds={"leftImg8bit/train/*/*.png": 2_975}),
    Archive(name="gtFine_trainvaltest.zip", holds={"gtFine/train/*/*_gtFine_label*Ids.png": 2_975}),
)
STEPS = (
    "register at https://www.cityscapes-dataset.com/register/, log in, fetch leftImg8bit_trainvaltest.zip and "
    "gtFine_trainvaltest.zip from https://www.cityscapes-dataset.com/downloads/, then run semivl prepare data "
    "cityscapes --from leftImg8bit_trainvaltest.zip --from gtFine_trainvaltest.zip"
)

_SPLITS = Path(__file__).parent / "splits"
_IMAGES = ("leftImg8bit", "leftImg8bit_trainvaltest/leftImg8bit")
_MASKS = ("gtFine", "gtFine_trainvaltest/gtFine")
_TRAIN_IDS, _LABEL_IDS = "_gtFine_labelTrainIds.png", "_gtFine_labelIds.png"
_CLASS_VALUES = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Values of `_labelIds.png` that become the classes 0..18; all others are ignored."""


class Cityscapes:
    """Reads `leftImg8bit/` and `gtFine/`, whose masks are `_labelTrainIds.png`, or else `_labelIds.png`."""

    name = "cityscapes"
    definition = "cityscapes"
    recipe = "recipe.toml"

    def __init__(self) -> None:
        self._class_of_value = _table(range(len(_CLASS_VALUES)))

    def records(self, root: Path, split: Split) -> Iterator[Record]:
        """Yield the protocol's records; where a root has masks of both kinds, each mask is read as what it is."""
        images, masks = (find_home(root, homes, split) for homes in (_IMAGES, _MASKS))
        if images is None or masks is None:
            raise InputError(
                f"{root}: expected Cityscapes there, that is leftImg8bit/{split}/ and gtFine/{split}/; "
                f"--root names another place; to get it, {STEPS}"
            )
        names = {one: read_ids(_SPLITS / f"{one}.txt") for one in SPLITS}
        trained = any((masks / one / f"{name}{_TRAIN_IDS}").is_file() for one in SPLITS for name in names[one])
        # One table must do for all masks of the root, since a raw value does not tell of which kind it is.
        self._class_of_value = _table(range(len(_CLASS_VALUES)) if trained else _CLASS_VALUES)
        for name in names[split]:
            mask, other = (masks / split / f"{name}{kind}" for kind in (_TRAIN_IDS, _LABEL_IDS))
            label: Source = mask if trained else other
            if trained and not mask.is_file() and other.is_file():
                label = partial(read_train_ids, other)
            yield Record(id=name, image=images / split / f"{name}_leftImg8bit.png", label=label)

    def class_ids(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Translate raw values of the kind that the root has which `records` listed last."""
        return np.asarray(self._class_of_value[np.clip(raw, 0, IGNORE)], np.uint8)

    def prepare(self, root: Path, sources: Sequence[Path], classes: Classes, download: bool, report: Say) -> None:
        """Unpack the archives that the user has; the publisher wants a login before giving them out."""
        obtain(ARCHIVES, root, sources, download, report, known=(_IMAGES[0], _MASKS[0]), steps=STEPS)


def read_train_ids(path: Path) -> NDArray[np.uint8]:
    """Read a `_labelIds.png` as the train ids `[H, W]` that a `_labelTrainIds.png` would hold."""
    from semivl_cli.data.read.images import read_raw_label  # noqa: PLC0415 - a list of datasets must not wait for Pillow

    return np.asarray(_table(_CLASS_VALUES)[np.clip(read_raw_label(path), 0, IGNORE)], np.uint8)


def _table(values: Iterable[int]) -> NDArray[np.uint8]:
    table = np.full(IGNORE + 1, IGNORE, np.uint8)
    for class_id, value in enumerate(values):
        table[value] = class_id
    return table
