"""The rules of definition files: each function looks for one kind of mistake in the values of a file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from semivl_cli.class_ids import MOST_CLASSES
from semivl_cli.concepts.lines import Path
from semivl_cli.concepts.lookalike import find_lookalikes
from semivl_cli.concepts.prompts import PLACEHOLDER, as_read, prompts
from semivl_cli.concepts.schema import ClassDefinition, Definition, parse_color
from semivl_cli.concepts.tokens import CONTEXT_LENGTH, find_cut

Severity = Literal["error", "warning"]

_NUMBER, _LIST, _TABLE, _TEXT = "a number", "a list", "a table", "a text in quotation marks"
_KINDS = {str: _TEXT, bool: "true or false", int: _NUMBER, float: _NUMBER, list: _LIST, dict: _TABLE}
_EXPECTED = {"string_type": _TEXT, "list_type": _LIST, "dict_type": _TABLE, "model_type": _TABLE}
_BEGIN_CLASS = "begin each class with a line [[class]]"
_HOW_TO_ADD = {
    "title": 'say at the top of the file what it defines: title = "..."',
    "name": 'give the class a name: name = "..."',
    "color": 'give the class a colour of its own: color = "#rrggbb"',
}


class Finding(NamedTuple):
    """A problem that is located by its way through the values instead of by its line."""

    path: Path
    code: str
    message: str
    advice: str
    severity: Severity = "error"


class _Text(NamedTuple):
    """A text of the file, the class that it stands in, and where."""

    text: str
    class_id: int
    path: Path


def find_problems(values: dict[str, Any], dataset_classes: Sequence[str] | None) -> Iterator[Finding]:
    """Yield what is wrong with the values of a file; `dataset_classes` `[N]` are names that it must fit."""
    yield from _shape(values)
    # From here on, what has the wrong kind is left out: it has been reported.
    classes = [(index, item) for index, item in enumerate(_list(values.get("class"))) if isinstance(item, dict)]
    names = [_Text(item["name"], i, ("class", i, "name")) for i, item in classes if _is_text(item.get("name"))]
    guidelines = [
        _Text(item["guideline"], i, ("class", i, "guideline")) for i, item in classes if _is_text(item.get("guideline"))
    ]
    concepts = [text for i, item in classes for text in _texts(item, i, "concepts", default=item.get("name"))]
    excludes = [text for i, item in classes for text in _texts(item, i, "excludes")]
    templates = [(text, ("templates", i)) for i, text in enumerate(_list(values.get("templates"))) if _is_text(text)]

    yield from _class_list(values)
    yield from _duplicate_names(names)
    yield from _duplicate_colors(classes)
    yield from _empty([*names, *guidelines, *concepts, *excludes])
    yield from _repeated(concepts)
    yield from _repeated(excludes)
    yield from _shared(concepts, excludes, names)
    yield from _excluded(concepts, excludes)
    yield from _lookalikes(names, concepts)
    yield from _templates(values, templates)
    yield from _long_prompts([*names, *guidelines, *concepts], [text for text, _ in templates])
    yield from _published(values, {text.text for text in (*names, *concepts)})
    if dataset_classes is not None:
        yield from _dataset(names, len(_list(values.get("class"))), dataset_classes)


def _shape(values: dict[str, Any]) -> Iterator[Finding]:
    """Let the schema check keys and kinds, and put its findings into words."""
    try:
        Definition.model_validate(values)
    except ValidationError as error:
        for found in error.errors():
            yield _worded(found["loc"], found["type"], found["input"])


def _worded(path: Path, kind: str, given: object) -> Finding:
    key = path[-1]
    if kind == "extra_forbidden":
        model = ClassDefinition if path[0] == "class" else Definition
        known = sorted(field.alias or name for name, field in model.model_fields.items())
        advice = _did_you_mean(str(key), known) or f"known here: {', '.join(known)}"
        return Finding(path, "unknown-key", f"unknown key {_quote(key)}", advice)
    if path == ("class",) and kind == "missing":
        return Finding((), "no-class", "no class is defined", _BEGIN_CLASS)
    if kind == "missing":
        return Finding(path[:-1], "missing-key", f"{_quote(key)} is missing", _HOW_TO_ADD[str(key)])
    if kind == "value_error":
        advice = 'write "#rrggbb" or [red, green, blue], each 0 to 255'
        return Finding(path, "bad-color", f"{_quote(given)} is no colour", advice)
    where = _quote(key) if isinstance(key, str) else f"item {key + 1} of {_quote(path[-2])}"
    advice = _BEGIN_CLASS if path[0] == "class" and len(path) <= 2 else f"write {_EXPECTED[kind]}"
    return Finding(path, "wrong-type", f"{where} is {_KINDS.get(type(given), 'a date or time')}", advice)


def _class_list(values: dict[str, Any]) -> Iterator[Finding]:
    classes = values.get("class")
    if classes == []:
        yield Finding(("class",), "no-class", "no class is defined", _BEGIN_CLASS)
    if isinstance(classes, list) and len(classes) > MOST_CLASSES:
        message = f"{len(classes)} classes, but a mask holds {MOST_CLASSES} and the ignored pixel"
        yield Finding(("class", MOST_CLASSES), "too-many-classes", message, "join classes")
    for index, item in enumerate(_list(classes)):
        if isinstance(item, dict) and item.get("concepts") == []:
            message = f"{_label(item, index)} has no concept"
            yield Finding(("class", index, "concepts"), "empty-class", message, "list some, or leave the key out")


def _duplicate_names(names: Iterable[_Text]) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for text, class_id, path in names:
        if text in seen:
            message = f"class {class_id} has the name of class {seen[text]}, {_quote(text)}"
            yield Finding(path, "duplicate-class", message, "join the two or rename one")
        seen.setdefault(text, class_id)


def _duplicate_colors(classes: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[Finding]:
    seen: dict[tuple[int, int, int], str] = {}
    for index, item in classes:
        try:
            color = parse_color(item.get("color"))
        except ValueError:
            continue  # missing or none: the schema has said so
        if color in seen:
            message = f"{_label(item, index)} has the colour of {seen[color]}"
            yield Finding(("class", index, "color"), "duplicate-color", message, "give each class a colour of its own")
        seen.setdefault(color, _label(item, index))


def _empty(texts: Iterable[_Text]) -> Iterator[Finding]:
    for path in dict.fromkeys(path for text, _, path in texts if not text.strip()):
        yield Finding(path, "empty-text", "the text is empty", "write it or take it away")


def _repeated(texts: Iterable[_Text]) -> Iterator[Finding]:
    seen: set[tuple[int, str]] = set()
    for text, class_id, path in texts:
        if (class_id, as_read(text)) in seen:
            yield Finding(path, "repeated-text", f"{_quote(text)} stands twice in this list", "take one away")
        seen.add((class_id, as_read(text)))


def _shared(concepts: Sequence[_Text], excludes: Sequence[_Text], names: Sequence[_Text]) -> Iterator[Finding]:
    called = {class_id: f"class {class_id}" for _, class_id, _ in concepts}
    called |= {class_id: f"class {_quote(text)}" for text, class_id, _ in names}
    excluded_by = {(as_read(text), class_id) for text, class_id, _ in excludes}
    first: dict[str, int] = {}
    for text, class_id, path in concepts:
        other = first.setdefault(as_read(text), class_id)
        if called[other] == called[class_id] or not text.strip():
            continue  # its own, that of a class of the same name (which has been reported), or nothing at all
        message = f"{_quote(text)} is a concept of {called[other]} too"
        for excluder in (other, class_id):
            if (as_read(text), excluder) in excluded_by:
                message += f", and {called[excluder]} excludes it"
                yield Finding(path, "shared-concept", message, "leave it to one class")
                break
        else:
            yield Finding(path, "shared-concept", message, "guidance cannot tell the two apart by it", "warning")


def _excluded(concepts: Sequence[_Text], excludes: Sequence[_Text]) -> Iterator[Finding]:
    owners: dict[str, set[int]] = {}
    for text, class_id, _ in concepts:
        owners.setdefault(as_read(text), set()).add(class_id)
    for text, class_id, path in excludes:
        owning = owners.get(as_read(text), set())
        if class_id in owning:
            message = f"{_quote(text)} is excluded by the class whose concept it is"
            yield Finding(path, "excludes-own", message, "decide which of the two it is")
        elif not owning and text.strip():
            message = f"{_quote(text)} is excluded here, but is no concept of another class"
            advice = _did_you_mean(text, [concept.text for concept in concepts if concept.class_id != class_id])
            yield Finding(path, "excludes-unknown", message, advice or "add it to the class where it belongs")


def _lookalikes(names: Sequence[_Text], concepts: Sequence[_Text]) -> Iterator[Finding]:
    """Compare class names with one another, and concepts with those of other classes."""
    named = {(text.class_id, text.text) for text in names}
    for kind, texts in (("class name", names), ("concept", concepts)):
        for first, second, difference in find_lookalikes([text.text for text in texts]):
            one, two = texts[first], texts[second]
            if one.class_id == two.class_id or (kind == "concept" and as_read(one.text) == as_read(two.text)):
                continue  # synonyms are welcome within a class; texts that CLIP reads alike count as shared
            if kind == "concept" and {one[1::-1], two[1::-1]} <= named:
                continue  # both are names, which have been compared
            message = f"{kind} {_quote(two.text)} looks like {_quote(one.text)} of class {one.class_id} ({difference})"
            yield Finding(two.path, "look-alike", message, "choose words that differ more, or join them", "warning")


def _templates(values: dict[str, Any], templates: Iterable[tuple[str, Path]]) -> Iterator[Finding]:
    if values.get("templates") == []:
        yield Finding(("templates",), "no-template", "the list of templates is empty", 'write ["a photo of a {}"]')
    for template, path in templates:
        count = template.count(PLACEHOLDER)
        if count == 0:
            message = f"the template {_quote(template)} has no {PLACEHOLDER}"
            yield Finding(path, "no-placeholder", message, f"write {PLACEHOLDER} where the text goes")
        if count > 1:
            message = f"the template {_quote(template)} has {count} times {PLACEHOLDER}"
            yield Finding(path, "many-placeholders", message, "the text goes to each of them: keep one", "warning")


def _long_prompts(texts: Iterable[_Text], templates: Sequence[str]) -> Iterator[Finding]:
    for text, path in dict.fromkeys((text, path) for text, _, path in texts):
        cuts = [cut for prompt in prompts(text, templates or ["a photo of a {}"]) if (cut := find_cut(prompt))]
        if cuts:
            tokens, kept = max(cuts)
            message = (
                f"the prompt has {tokens} tokens, CLIP reads {CONTEXT_LENGTH} and stops after {_quote(kept[-30:])}"
            )
            yield Finding(path, "long-prompt", message, "say it shorter, or split it into concepts", "warning")


def _published(values: dict[str, Any], known: set[str]) -> Iterator[Finding]:
    table = values.get("published")
    for key, spelling in table.items() if isinstance(table, dict) else ():
        if isinstance(spelling, str) and not spelling.strip():
            yield Finding(("published", key), "empty-text", "the text is empty", "write it or take it away")
        if key not in known:
            message = f"{_quote(key)} is neither a class name nor a concept"
            advice = _did_you_mean(key, sorted(known)) or "write the spelling of this file to the left"
            yield Finding(("published", key), "published-unknown", message, advice)


def _dataset(names: Sequence[_Text], count: int, dataset_classes: Sequence[str]) -> Iterator[Finding]:
    expected = [as_read(name) for name in dataset_classes]
    if count != len(expected):
        message = f"{count} classes, but the dataset has {len(expected)}"
        present = {as_read(name.text) for name in names}
        missing = [name for name in dataset_classes if as_read(name) not in present]
        advice = "missing: " + ", ".join(missing[:5]) if missing else "take the others away"
        yield Finding(("class",), "class-count", message, advice)
    for text, class_id, path in names:
        if class_id < len(expected) and as_read(text) != expected[class_id]:
            message = f"class {class_id} is {_quote(text)}, but {_quote(dataset_classes[class_id])} in the dataset"
            place = expected.index(as_read(text)) if as_read(text) in expected else None
            advice = "use the dataset's name" if place is None else f"the dataset has it as class {place}: move it"
            yield Finding(path, "class-name", message, advice)


def _texts(item: dict[str, Any], class_id: int, key: str, default: object = None) -> list[_Text]:
    """Return the texts of a list in a class; where the list is absent, the default stands at the class's name."""
    if key not in item:
        return [_Text(default, class_id, ("class", class_id, "name"))] if isinstance(default, str) else []
    listed = enumerate(_list(item[key]))
    return [_Text(text, class_id, ("class", class_id, key, i)) for i, text in listed if _is_text(text)]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _label(item: dict[str, Any], index: int) -> str:
    return f"class {_quote(item['name'])}" if _is_text(item.get("name")) else f"class {index}"


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {_quote(near[0])}?" if near else ""


def _quote(value: object) -> str:
    """Show a value of the file: on one line, not too long, without signs that would steer a terminal."""
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return visible(shown if len(shown) <= 80 else shown[:77] + '..."')


def visible(text: str) -> str:
    """Write line ends and signs that would steer a terminal as escapes."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
