"""What an exporter held an image for, as the names of its folders and files tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

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


def _word(pattern: re.Pattern[str], name: str) -> ExportedSplit | None:
    found = pattern.fullmatch(name.lower())
    return _WORDS.get(found[1]) if found else None
