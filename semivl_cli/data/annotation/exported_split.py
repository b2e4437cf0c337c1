"""What an exporter held an image for, as the names of its folders and files and its lists tell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

from semivl_cli.data.annotation.image_names import ImageNames

ExportedSplit = Literal["train", "val", "test"]

_WORDS: dict[str, ExportedSplit] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_FOLDER = re.compile(r"(?:obj_)?([a-z]+)(?:20\d\d|_data)?")
_LAST = re.compile(r"(?:.*[_.-])?([a-z]+)(?:20\d\d)?")


def split_of_folders(folders: Sequence[str]) -> ExportedSplit | None:
    """Return what the innermost of folders that says it says, such as `train`, `val2017` or `obj_train_data`."""
    said = (_word(_FOLDER, folder) for folder in reversed(folders))
    return next(filter(None, said), None)


def split_called(word: str) -> ExportedSplit | None:
    """Return the split that a word means, such as the name of a subset."""
    return _WORDS.get(word.strip().lower())


def split_of_file(stem: str) -> ExportedSplit | None:
    """Return what the last word of a file's name says, such as `instances_val2017` or `train`."""
    return _word(_LAST, stem)


def splits_of_lists(images: Sequence[str], lists: Mapping[str, Sequence[str]]) -> dict[str, ExportedSplit]:
    """Return what images are held for by lists such as `val.txt` (path -> names of images), if for one thing alone."""
    find = ImageNames(images).find
    told: dict[str, set[ExportedSplit]] = {}
    for name, lines in lists.items():
        if split := split_of_file(PurePosixPath(name).stem):
            for image in (image for line in lines for image in find(line.strip())):
                told.setdefault(image, set()).add(split)
    return {image: next(iter(splits)) for image, splits in told.items() if len(splits) == 1}


def _word(pattern: re.Pattern[str], name: str) -> ExportedSplit | None:
    found = pattern.fullmatch(name.lower())
    return _WORDS.get(found[1]) if found else None
