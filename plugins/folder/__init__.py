"""A folder of images and masks: the dataset for one's own data, and the plugin to copy.

`images/` and `masks/` (same stem, in the same sub-folder), optional lists of ids `train.txt` and `val.txt`, optional
`dataset.toml` with the meaning of mask values.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import Record, Split
from semivl_cli.data.ids import read_ids
from semivl_cli.errors import InputError

from .values import ValueMap, read_values

_IMAGES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
_MASKS = frozenset((".bmp", ".gif", ".pgm", ".png", ".tif", ".tiff"))
_VAL_SHARE = 10
"""Without `val.txt` one labelled image in so many is validation."""


class Folder:
    """Reads `images/`, `masks/`, `train.txt`, `val.txt` and `dataset.toml` of one folder."""

    name = "folder"
    definition = ""
    """None of its own: the classes are the user's."""
    recipe = "recipe.toml"

    def __init__(self) -> None:
        self.notes: tuple[str, ...] = ()
        """What the user should know about the records that were listed last."""
        self._values = ValueMap()

    def records(self, root: Path, split: Split) -> Iterator[Record]:
        """Yield the records of a split; an id is a path below `images/` without its suffix, such as `day1/0042`."""
        for folder in ("images", "masks"):
            if not (root / folder).is_dir():
                raise InputError(
                    f"{root}: expected a folder with images/ and masks/ there, but {folder}/ is absent; "
                    f"--root names another place"
                )
        self._values = read_values(root / "dataset.toml")
        images, masks = _files(root / "images", _IMAGES), _files(root / "masks", _MASKS)
        if not images:
            raise InputError(f"{root / 'images'} holds no image: expected files such as .jpg, .png, .tif at any depth")
        train, val, notes = _split(root, images, masks)
        self.notes = notes
        if split == "train":
            for name in train:
                yield Record(id=name, image=images.get(name, root / "images" / name), label=masks.get(name))
        else:
            for name in val:  # a mask that is absent is named all the same, so that it counts as missing
                mask = masks.get(name, root / "masks" / f"{name}.png")
                yield Record(id=name, image=images.get(name, root / "images" / name), label=mask)

    def class_ids(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Translate raw values as the `dataset.toml` says that `records` read last."""
        return self._values.class_ids(raw)


def _files(folder: Path, suffixes: frozenset[str]) -> dict[str, Path]:
    """Return id -> path of every file below `folder` with one of the suffixes, in order; linked folders count."""
    found: dict[str, Path] = {}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() not in suffixes or name.startswith("."):
                continue
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if stem in found:
                raise InputError(
                    f"{path}: {found[stem].name} beside it has the same stem, so both have the id {stem!r}"
                )
            found[stem] = path
    return found


def _split(
    root: Path, images: dict[str, Path], masks: dict[str, Path]
) -> tuple[Sequence[str], Sequence[str], tuple[str, ...]]:
    """Return the ids of train and val, and what is worth telling about them."""
    notes = []
    orphans = masks.keys() - images.keys()
    if orphans:
        notes.append(f"{len(orphans)} of the {len(masks)} masks have no image, for example {min(orphans)!r}")
    train, val = (_listed(root / f"{split}.txt", images) for split in ("train", "val"))
    if train is not None and val is not None:
        return train, val, tuple(notes)
    pool = list(images) if train is None else train
    if val is None:
        labeled = [name for name in pool if name in masks]
        val = _tenth(labeled)
        notes.append(f"{len(val)} of the {len(labeled)} masks are validation: no val.txt")
    held_out = set(val)
    return [name for name in pool if name not in held_out], val, tuple(notes)


def _listed(path: Path, images: dict[str, Path]) -> Sequence[str] | None:
    """Read a list of ids, if there is one; `street.jpg` is understood as `street`."""
    if not path.is_file():
        return None
    names = read_ids(path)
    bare = {name: name.removesuffix(Path(name).suffix) for name in names}
    return [bare[name] if name not in images and bare[name] in images else name for name in names]


def _tenth(labeled: Sequence[str]) -> Sequence[str]:
    """Choose a tenth, at least one, by a hash of the ids, so that more images hardly change the choice."""
    if len(labeled) == 1:
        raise InputError(f"only {labeled[0]!r} has a mask: training and validation need one each")
    by_hash = sorted(labeled, key=lambda name: hashlib.sha256(name.encode()).digest())
    chosen = set(by_hash[: max(round(len(labeled) / _VAL_SHARE), 1)])
    return [name for name in labeled if name in chosen]
