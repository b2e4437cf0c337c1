"""The texts of a definition file with their places, as far as they are there: the file may have any mistake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from semivl_cli.concepts.problems import quote
from semivl_cli.concepts.prompts import as_read
from semivl_cli.concepts.schema import ClassDefinition, Definition, keys_of
from semivl_cli.concepts.toml_lines import Path


class Text(NamedTuple):
    """A text of the file, the class that it stands in, and where."""

    text: str
    class_id: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class Words:
    """What is a text where a text belongs; what has the wrong kind is left out."""

    names: list[Text]
    guidelines: list[Text]
    concepts: list[Text]
    """Where a class has no such list, its name stands for it."""
    excludes: list[Text]
    templates: list[tuple[str, Path]]
    lost: frozenset[str]
    """Texts, `as_read`, that stand where none is read, as under a misspelt key: that is reported, not what follows."""

    def label(self, class_id: int) -> str:
        """Call a class by its name, or by its number where it has none."""
        names = (quote(text) for text, owner, _ in self.names if owner == class_id)
        return f"class {next(names, class_id)}"

    def shared(self) -> Iterator[tuple[Text, str, int | None]]:
        """Yield each concept that a class before it has too, a message, and the class of the two that excludes it.

        Classes of the same name, which are reported anyhow, and empty texts share nothing.
        """
        excluded_by = {(as_read(text), class_id) for text, class_id, _ in self.excludes}
        first: dict[str, int] = {}
        for concept in self.concepts:
            text, class_id = as_read(concept.text), concept.class_id
            other = first.setdefault(text, class_id)
            if other != class_id and text and self.label(other) != self.label(class_id):
                excluders = (owner for owner in (other, class_id) if (text, owner) in excluded_by)
                yield concept, f"{quote(concept.text)} is a concept of {self.label(other)} too", next(excluders, None)


def words_in(values: dict[str, Any]) -> Words:
    """Collect the texts of the values of a file."""
    classes = [(index, item) for index, item in enumerate(as_list(values.get("class"))) if isinstance(item, dict)]

    def under(key: str) -> list[Text]:
        return [Text(item[key], i, ("class", i, key)) for i, item in classes if isinstance(item.get(key), str)]

    def listed(key: str) -> list[Text]:
        return [
            Text(text, i, ("class", i, key, k))
            for i, item in classes
            for k, text in enumerate(as_list(item.get(key)))
            if isinstance(text, str)
        ]

    names, templates = under("name"), as_list(values.get("templates"))
    lone = [name for name in names if "concepts" not in values["class"][name.class_id]]
    return Words(
        names=names,
        guidelines=under("guideline"),
        concepts=sorted([*lone, *listed("concepts")], key=lambda text: text.class_id),
        excludes=listed("excludes"),
        templates=[(text, ("templates", i)) for i, text in enumerate(templates) if isinstance(text, str)],
        lost=frozenset(_lost(values)),
    )


def parts(text: str) -> list[str]:
    """Return the texts that commas part, `as_read`; a single one where there are none."""
    return [as_read(part) for part in text.split(",")]


def _lost(values: dict[str, Any]) -> Iterator[str]:
    unread: list[object] = [value for key, value in values.items() if key not in keys_of(Definition)]
    classes = values.get("class")
    for item in classes if isinstance(classes, list) else [classes]:
        if isinstance(item, dict):
            concepts = item.get("concepts")
            unread += [value for key, value in item.items() if key not in keys_of(ClassDefinition)]
            unread += [text for text in concepts if "," in str(text)] if isinstance(concepts, list) else [concepts]
        if not isinstance(classes, list):
            unread.append(item)
    for text in _texts_in(unread):
        yield from (as_read(text), *parts(text))


def _texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    inner = value if isinstance(value, list) else []
    inner = [item for key, item in value.items() if key != "excludes"] if isinstance(value, dict) else inner
    for item in inner:
        yield from _texts_in(item)


def as_list(value: object) -> list[Any]:
    """Take what is no list for an empty one: it has been reported."""
    return value if isinstance(value, list) else []
