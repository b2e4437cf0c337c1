"""What `--labels` means: every mask, so many of them, a fraction of the images, or those that a file of ids lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from semivl_cli.errors import InputError

Amount = Literal["all"] | int | Fraction | Path
"""All, a count of at least 1, a fraction of the training images above 0 and at most 1, or a file of ids."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Which training images are labelled."""

    word: str
    """As it was given; of a file the absolute path, so that a run can go on from another folder."""
    amount: Amount

    def __str__(self) -> str:
        return self.word


def read_labels(given: object) -> Labels:
    """Read what a user or a settings file says; whether a file is there is asked when it is opened.

    Raises:
        InputError: a count or a fraction that no set of images can have.
        ValueError: it is neither text nor a number.
    """
    if isinstance(given, Labels):
        return given
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise ValueError("must be a count, a fraction, a file of ids, or all")
    word = str(given)
    if word == "all":
        return Labels(word, "all")
    if re.fullmatch(r"\d+", word):
        if int(word) < 1:
            raise InputError(f"labels {word!r}: expected at least one labelled image")
        return Labels(word, int(word))
    if re.fullmatch(r"\d+/\d+|\d*\.\d+", word):
        fraction = Fraction(0) if re.search(r"/0+$", word) else Fraction(word)
        if not 0 < fraction <= 1:
            raise InputError(f"labels {word!r}: expected a fraction above 0 and at most 1")
        return Labels(word, fraction)
    path = Path(word)
    return Labels(str(path.resolve()), path.resolve()) if path.is_file() else Labels(word, path)
