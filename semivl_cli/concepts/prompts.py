"""From a definition to the texts that CLIP reads: names, guidelines or concepts, and their prompts (Sec. 3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

from semivl_cli.concepts.schema import ClassDefinition, Definition

Variant = Literal["name", "guideline", "concepts"]
"""Which words describe a class (Table 9): its name, its guideline as raw text (its name where it has none), or
its concepts."""

PLACEHOLDER = "{}"


class Texts(NamedTuple):
    """Texts `[K]` and the class id `[K]`, 0..N-1, that each of them describes; in the order of the classes."""

    texts: tuple[str, ...]
    class_of_text: tuple[int, ...]


def texts(definition: Definition, variant: Variant) -> Texts:
    """List the texts that describe the classes.

    `"name"` and `"guideline"` give one text a class (`K = N`), `"concepts"` one or more.
    """
    found = [(text, n) for n, item in enumerate(definition.classes) for text in _texts_of(item, variant)]
    return Texts(tuple(text for text, _ in found), tuple(class_id for _, class_id in found))


def _texts_of(item: ClassDefinition, variant: Variant) -> list[str]:
    if variant == "concepts":
        return item.concepts
    return [item.guideline or item.word] if variant == "guideline" else [item.word]


def with_prompts(definition: Definition) -> dict[str, Any]:
    """Return the definition as its file has it, with each class's id and prompts by variant, ready for JSON."""
    shown = definition.model_dump(mode="json", by_alias=True)
    for class_id, (item, values) in enumerate(zip(definition.classes, shown["class"], strict=True)):
        values["id"] = class_id
        values["color"] = f"#{bytes(item.color).hex()}"
        values["prompts"] = {
            variant: [prompt for text in _texts_of(item, variant) for prompt in prompts(text, definition.templates)]
            for variant in get_args(Variant)
        }
    return shown


def prompts(text: str, templates: Sequence[str]) -> tuple[str, ...]:
    """Put `text` into every template, at its `{}`; other braces stay as they are."""
    return tuple(template.replace(PLACEHOLDER, text) for template in templates)


def as_read(text: str) -> str:
    """Return `text` as CLIP's tokenizer sees it as far as writers care: lower case, single spaces."""
    return " ".join(text.split()).lower()
