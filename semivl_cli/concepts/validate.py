"""Looks at a definition file and lists everything that is wrong with it at once, each problem with its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    expected = [as_read(name) for name in dataset_classes]
    count = len(classes) if isinstance(classes, list) else 0
    if count != len(expected):
        message = f"{count} classes, but the dataset has {len(expected)}"
        present = {as_read(name.text) for name in names}
        missing = [name for name in dataset_classes if as_read(name) not in present]
        advice = "missing: " + ", ".join(missing[:5]) if missing else "take the others away"
        yield Finding(("class",), "class-count", message, advice)
    for text, class_id, path in names:
        if class_id < len(expected) and as_read(text) != expected[class_id]:
            message = f"class {class_id} is {quote(text)}, but {quote(dataset_classes[class_id])} in the dataset"
            own_id = expected.index(as_read(text)) if as_read(text) in expected else None
            advice = "use the dataset's name" if own_id is None else f"the dataset has it as class {own_id}: move it"
            yield Finding(path, "class-name", message, advice)
