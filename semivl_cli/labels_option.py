"""What `--labels` means: every mask, so many of them, a fraction of the images, or those that a file of ids lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from semivl_cli.errors import InputError

_NUMBER = re.compile(r"[-+]?[\d.,_]*\d[\d.,_]*(e[-+]?\d+)?\s*%?(/[-+\d./]*)?|[-+]?(inf|nan)", re.IGNORECASE)
"""What is meant as a number, and never as a file, whether or not it is one that can be."""

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
    wanted = f"labels {word[:80]!r}: expected all, a count of at least 1 (92), a fraction up to 1 (1/8 or 0.1)"
    if word == "all":
        return Labels(word, "all")
    if _NUMBER.fullmatch(word):
        number = _number(word)
        if number is None:
            raise InputError(f"{wanted}, or a file of ids")
        return Labels(word, number)
    try:
        path = Path(word)
        return Labels(str(path.resolve()), path.resolve()) if path.is_file() else Labels(word, path)
    except (OSError, ValueError) as error:  # no file can have such a name
        raise InputError(f"{wanted}, or a file of ids ({getattr(error, 'strerror', None) or error})") from error


def _number(word: str) -> int | Fraction | None:
    """Return the count or fraction that a number means; `None` where no set of images can have it."""
    if re.fullmatch(r"\d{1,15}", word, re.ASCII):
        return int(word) or None
    if re.fullmatch(r"\d{1,15}/0*[1-9]\d{0,14}|\d{0,15}\.\d{1,300}", word, re.ASCII) and 0 < Fraction(word) <= 1:
        return Fraction(word)
    return None
