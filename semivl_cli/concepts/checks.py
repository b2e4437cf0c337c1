"""The rules of definition files, by which one that breaks them is refused; each function looks for one mistake."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from semivl_cli.class_ids import MOST_CLASSES
from semivl_cli.concepts.problems import Finding, did_you_mean, quote
from semivl_cli.concepts.prompts import PLACEHOLDER, as_read
from semivl_cli.concepts.schema import ClassDefinition, Color, Definition, keys_of, parse_color
from semivl_cli.concepts.toml_lines import Path
from semivl_cli.concepts.words import Text, Words, as_list, words_in

_NUMBER, _LIST, _TABLE, _TEXT = "a number", "a list", "a table", "a text in quotation marks"
_KINDS = {str: _TEXT, bool: "true or false", int: _NUMBER, float: _NUMBER, list: _LIST, dict: _TABLE}
_EXPECTED = {"string_type": _TEXT, "list_type": _LIST, "dict_type": _TABLE, "model_type": _TABLE}
SEVERAL = "write each in quotation marks of its own"
_BEGIN_CLASS = "begin each class with a line [[class]]"
_HOW_TO_ADD = {
    "title": 'say at the top of the file what it defines: title = "..."',
    "name": 'give the class a name: name = "..."',
    "color": 'give the class a colour of its own: color = "#rrggbb"',
}


def check(values: dict[str, Any]) -> tuple[Definition | None, list[Finding]]:
    """Return the definition that the values of a file are, if their kinds allow it, and all errors."""
    words = words_in(values)
    errors = [
        *_class_list(values, words),
        *_duplicate_names(words.names),
        *_duplicate_colors(values, words),
        *_empty([*words.names, *words.guidelines, *words.concepts, *words.excludes]),
        *_repeated(words.concepts),
        *_repeated(words.excludes),
        *_shared(words),
        *_excluded(words),
        *_templates(values, words),
        *_published(values, words),
    ]
    try:
        return Definition.model_validate(values), errors
    except ValidationError as error:
        found = [(detail["loc"], detail["type"], detail["input"]) for detail in error.errors()]
        misspelt = {(*path[:-1], *_nearest(path)) for path, kind, _ in found if kind == "extra_forbidden"}
        causes = [one for one in found if one[1] != "missing" or one[0] not in misspelt]
        return None, [*(_worded(*one) for one in causes), *errors]


def _known(path: Path) -> list[str]:
    return keys_of(ClassDefinition if path[0] == "class" else Definition)


def _nearest(path: Path) -> list[str]:
    return difflib.get_close_matches(str(path[-1]), _known(path), n=1)


def _worded(path: Path, kind: str, given: object) -> Finding:
    key = path[-1]
    if kind == "extra_forbidden":
        known = _known(path)
        advice = did_you_mean(str(key), known) or f"known here: {', '.join(known)}"
        return Finding(path, "unknown-key", f"unknown key {quote(key)}", advice)
    if path == ("class",) and kind == "missing":
        return Finding((), "no-class", "no class is defined", _BEGIN_CLASS)
    if kind == "missing":
        return Finding(path[:-1], "missing-key", f"{quote(key)} is missing", _HOW_TO_ADD[str(key)])
    if kind == "value_error":
        advice = 'write "#rrggbb" or [red, green, blue], each 0 to 255'
        return Finding(path, "bad-color", f"{quote(given)} is no colour", advice)
    where = quote(key) if isinstance(key, str) else f"item {key + 1} of {quote(path[-2])}"
    advice = _BEGIN_CLASS if path[0] == "class" and len(path) <= 2 else f"write {_EXPECTED[kind]}"
    return Finding(path, "wrong-type", f"{where} is {_KINDS.get(type(given), 'a date or time')}", advice)


def _class_list(values: dict[str, Any], words: Words) -> Iterator[Finding]:
    classes = values.get("class")
    if classes == []:
        yield Finding(("class",), "no-class", "no class is defined", _BEGIN_CLASS)
    if isinstance(classes, list) and len(classes) > MOST_CLASSES:
        message = f"{len(classes)} classes, but a mask holds {MOST_CLASSES} and the ignored pixel"
        yield Finding(("class", MOST_CLASSES), "too-many-classes", message, "join classes")
    for index, item in enumerate(as_list(classes)):
        if isinstance(item, dict) and item.get("concepts") == []:
            message = f"{words.label(index)} has no concept"
            yield Finding(("class", index, "concepts"), "empty-class", message, "list some, or leave the key out")


def _duplicate_names(names: Iterable[Text]) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for text, class_id, path in names:
        if text in seen:
            message = f"class {class_id} has the name of class {seen[text]}, {quote(text)}"
            yield Finding(path, "duplicate-class", message, "join the two or rename one")
        seen.setdefault(text, class_id)


def _duplicate_colors(values: dict[str, Any], words: Words) -> Iterator[Finding]:
    seen: dict[Color, int] = {}
    for index, item in enumerate(as_list(values.get("class"))):
        try:
            color = parse_color(item.get("color") if isinstance(item, dict) else None)
        except ValueError:
            continue  # missing or none: the schema says so
        if color in seen:
            message = f"{words.label(index)} has the colour of {words.label(seen[color])}"
            yield Finding(("class", index, "color"), "duplicate-color", message, "give each class a colour of its own")
        seen.setdefault(color, index)


def _empty(texts: Iterable[Text]) -> Iterator[Finding]:
    for path in dict.fromkeys(path for text, _, path in texts if not text.strip()):
        yield Finding(path, "empty-text", "the text is empty", "write it or take it away")


def _repeated(texts: Iterable[Text]) -> Iterator[Finding]:
    seen: set[tuple[int, str]] = set()
    for text, class_id, path in texts:
        if (class_id, as_read(text)) in seen:
            yield Finding(path, "repeated-text", f"{quote(text)} stands twice in this list", "take one away")
        seen.add((class_id, as_read(text)))


def _shared(words: Words) -> Iterator[Finding]:
    for concept, shared, excluder in words.shared():
        if excluder is not None:
            message = f"{shared}, and {words.label(excluder)} excludes it"
            yield Finding(concept.path, "shared-concept", message, "leave it to one class")


def _excluded(words: Words) -> Iterator[Finding]:
    owners: dict[str, set[int]] = {}
    for text, class_id, _ in words.concepts:
        owners.setdefault(as_read(text), set()).add(class_id)
    for text, class_id, path in words.excludes:
        owning = owners.get(as_read(text), set())
        if class_id in owning:
            message = f"{quote(text)} is excluded by the class whose concept it is"
            yield Finding(path, "excludes-own", message, "decide which of the two it is")
        elif not owning and text.strip() and as_read(text) not in words.lost:
            message = f"{quote(text)} is excluded here, but is no concept of another class"
            advice = did_you_mean(text, [concept.text for concept in words.concepts if concept.class_id != class_id])
            advice = SEVERAL if "," in text else advice
            yield Finding(path, "excludes-unknown", message, advice or "add it to the class where it belongs")


def _templates(values: dict[str, Any], words: Words) -> Iterator[Finding]:
    if values.get("templates") == []:
        yield Finding(("templates",), "no-template", "the list of templates is empty", 'write ["a photo of a {}"]')
    for template, path in words.templates:
        if PLACEHOLDER not in template:
            message = f"the template {quote(template)} has no {PLACEHOLDER}"
            yield Finding(path, "no-placeholder", message, f"write {PLACEHOLDER} where the text goes")


def _published(values: dict[str, Any], words: Words) -> Iterator[Finding]:
    table, known = values.get("published"), {text.text for text in (*words.names, *words.concepts)}
    for key, spelling in table.items() if isinstance(table, dict) else ():
        if isinstance(spelling, str) and not spelling.strip():
            yield Finding(("published", key), "empty-text", "the text is empty", "write it or take it away")
        if key not in known and as_read(key) not in words.lost:
            message = f"{quote(key)} is neither a class name nor a concept"
            advice = did_you_mean(key, sorted(known)) or "write the spelling of this file to the left"
            yield Finding(("published", key), "published-unknown", message, advice)
