"""Looks at a definition file and lists everything that is wrong with it at once, each problem with its line."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass

from semivl_cli.concepts.checks import Severity, find_problems, visible
from semivl_cli.concepts.lines import line_of, parse_with_lines

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


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One finding; `line` counts from 1, `code` is a key of `CODES`, `advice` says what to do."""

    file: str
    line: int
    severity: Severity
    code: str
    message: str
    advice: str


def validate(text: bytes, source: str, *, dataset_classes: Sequence[str] | None = None) -> list[Problem]:
    """List every problem of a definition file, in the order of its lines. Raises nothing, whatever the bytes.

    Args:
        text: the content of the file; UTF-8, with or without byte order mark, any line ends.
        source: how to name the file in the problems.
        dataset_classes: class names of the dataset `[N]`, by id, which the file must fit.
    """
    try:
        content = text.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"byte {error.object[error.start]:#04x} is no UTF-8"
        return [_unparsable(source, line, "encoding", message, "save the file as UTF-8")]
    try:
        values, lines = parse_with_lines(content)
    except ValueError as error:
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        last = content.rstrip().count("\n") + 1
        line = int(place[1]) if place and place[1] else last
        message = str(error)[: place.start()] if place else str(error)
        return [_unparsable(source, line, "syntax", visible(message), "see https://toml.io for how TOML is written")]
    except RecursionError:
        return [_unparsable(source, 1, "syntax", "lists are nested without end", "concepts are a plain list of texts")]
    problems = [
        Problem(
            file=source,
            line=line_of(finding.path, lines),
            severity=finding.severity,
            code=finding.code,
            message=finding.message,
            advice=finding.advice,
        )
        for finding in find_problems(values, dataset_classes)
    ]
    return sorted(problems, key=lambda problem: (problem.line, problem.severity))


def _unparsable(source: str, line: int, code: str, message: str, advice: str) -> Problem:
    return Problem(file=source, line=line, severity="error", code=code, message=message, advice=advice)
