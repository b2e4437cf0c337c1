"""What can be wrong with a definition file: a code for every kind of mistake, and a problem with its line."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from semivl_cli.concepts.toml_lines import Path
from semivl_cli.errors import InputError

Severity = Literal["error", "warning"]

CODES: dict[str, str] = {
    "unreadable": "the file cannot be opened",
    "encoding": "the file is not UTF-8 text",
    "syntax": "the file is not TOML",
    "unknown-key": "a key that definition files do not have",
    "missing-key": "a key that must be there is not",
    "wrong-type": "a value of the wrong kind",
    "no-class": "the file defines no class",
    "too-many-classes": "more classes than a mask of bytes can hold",
    "duplicate-class": "two classes have the same name",
    "bad-color": "a colour that is none",
    "duplicate-color": "two classes have the same colour",
    "empty-class": "a class without any concept",
    "empty-text": "a text without a letter",
    "repeated-text": "a class lists the same text twice",
    "shared-concept": "a concept of two classes",
    "excludes-own": "a class excludes one of its own concepts",
    "excludes-unknown": "a class excludes what is no concept of another class",
    "several-texts": "several concepts between one pair of quotation marks",
    "negation": "a concept that says what a thing is not",
    "look-alike": "two texts that are easily taken for one another",
    "no-template": "an empty list of templates",
    "no-placeholder": "a template without {}",
    "many-placeholders": "a template with more than one {}",
    "long-prompt": "a prompt that CLIP cuts",
    "published-unknown": "a published spelling of what is neither a class name nor a concept",
    "class-count": "not as many classes as the dataset has",
    "class-name": "not the class that the dataset has at this place",
    "same-vector": "words of two classes that CLIP reads as the same (told with --weights)",
    "near-concepts": "concepts of two classes that CLIP can hardly tell apart (told with --weights)",
}
"""Every code and what it means; `docs/definitions.md` shows an example of each."""

UNPARSABLE = frozenset({"unreadable", "encoding", "syntax"})
"""Codes that leave nothing else to check."""


@dataclass(frozen=True)
class Problem:
    """One finding; `line` counts from 1, `code` is a key of `CODES`, `advice` says what to do."""

    file: str
    line: int
    severity: Severity
    code: str
    message: str
    advice: str


class Finding(NamedTuple):
    """A problem that is located by its way through the values instead of by its line."""

    path: Path
    code: str
    message: str
    advice: str
    severity: Severity = "error"

    def at(self, file: str, line: int) -> Problem:
        """Put it at its line."""
        return Problem(file, line, self.severity, self.code, self.message, self.advice)


class Refused(InputError):
    """A definition file with errors; its message names the first and counts the others."""

    def __init__(self, errors: Sequence[Problem]) -> None:
        self.errors = list(errors)
        first = self.errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(
            f"{first.file}:{first.line}: {first.message}: {first.advice}{more}; "
            f"see all with: semivl concepts validate {shlex.quote(first.file)}"
        )


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Ask for the known word that is nearest; empty where none is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {quote(near[0])}?" if near else ""


def quote(value: object) -> str:
    """Show a value of the file: on one line, not too long, without signs that would steer a terminal."""
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return visible(shown if len(shown) <= 80 else shown[:77] + '..."')


def visible(text: str) -> str:
    """Write line ends and signs that would steer a terminal as escapes."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
