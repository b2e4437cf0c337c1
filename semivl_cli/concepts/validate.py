"""Looks at a definition file and lists everything that is wrong with it at once, each problem with its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from semivl_cli.concepts.checks import check
from semivl_cli.concepts.load import definition_bytes, parse_file
from semivl_cli.concepts.problems import Finding, Problem, Refused, quote
from semivl_cli.concepts.prompts import as_read
from semivl_cli.concepts.soft_checks import find_warnings
from semivl_cli.concepts.words import Text, words_in
from semivl_cli.errors import InputError


def validate_file(name: str, dataset_classes: Sequence[str] | None) -> list[Problem]:
    """Validate the definition of a shipped name or a path; that it cannot be read is a problem like others."""
    try:
        content, source = definition_bytes(name)
    except InputError as error:
        return [Finding((), "unreadable", str(error), "check the name").at(name, 1)]
    return validate(content, source, dataset_classes=dataset_classes)


def validate(text: bytes, source: str, *, dataset_classes: Sequence[str] | None = None) -> list[Problem]:
    """List every problem of a definition file, in the order of its lines. Raises nothing, whatever the bytes.

    `source`: how the problems name the file; `dataset_classes`: class names `[N]` by id, which it must fit.
    """
    try:
        file = parse_file(text, source)
    except Refused as refused:
        return refused.errors
    words = words_in(file.values)
    _, errors = check(file.values)
    misfits = [] if dataset_classes is None else _misfits(words.names, file.values.get("class"), dataset_classes)
    return file.problems([*errors, *misfits, *find_warnings(words)])


def _misfits(names: Sequence[Text], classes: object, dataset_classes: Sequence[str]) -> Iterator[Finding]:
    """Compare classes in order, as versions of a text are: one that is missing or moved makes no others wrong."""
    if not isinstance(classes, list):
        return  # reported: what is wrong with it is not that classes are missing
    found, expected = [as_read(name.text) for name in names], [as_read(name) for name in dataset_classes]
    if len(classes) != len(expected):
        message = f"{len(classes)} classes, but the dataset has {len(expected)}"
        missing = [name for name in dataset_classes if as_read(name) not in found]
        advice = "missing: " + ", ".join(missing[:5]) if missing else "take the others away"
        yield Finding(("class",), "class-count", message, advice)
    for kind, start, stop, first, last in SequenceMatcher(None, found, expected, autojunk=False).get_opcodes():
        for offset, (text, class_id, path) in enumerate(names[start:stop] if kind != "equal" else ()):
            if as_read(text) in expected:
                own = expected.index(as_read(text))
                message = f"class {class_id} is {quote(text)}, but the dataset has it as class {own}"
                yield Finding(path, "class-name", message, "move it")
            elif first + offset < last:  # else one too many, which their number has told
                there = quote(dataset_classes[first + offset])
                message = f"class {class_id} is {quote(text)}, but {there} in the dataset"
                yield Finding(path, "class-name", message, "use the dataset's name")
