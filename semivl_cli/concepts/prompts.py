"""From a definition to the texts that CLIP reads: names, guidelines or concepts, and their prompts (Sec. 3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from semivl_cli.concepts.schema import Definition

Variant = Literal["name", "guideline", "concepts"]
"""Which words describe a class (Table 9): its name, its guideline as raw text, or its concepts."""

PLACEHOLDER = "{}"


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Texts `[K]` and the class id `[K]`, 0..N-1, that each of them describes; in the order of the classes."""

    texts: tuple[str, ...]
    class_of_text: tuple[int, ...]


def texts(definition: Definition, variant: Variant, published: bool = False) -> Texts:
    """List the texts that describe the classes.

    Args:
        definition: the class definition.
        variant: `"name"` and `"guideline"` give one text a class (`K = N`), `"concepts"` one or more. A class without
            a guideline is described by its name.
        published: take the spellings of the published run. A key of `[published]` that is the name of a class
            respells that name; any other key respells a concept. So `"dining table" = "diningtable"` changes what
            the decoder reads and leaves the concept "dining table" alone, as the published run did.
    """
    table = definition.published if published else {}
    names = set(definition.names)
    found: list[tuple[str, int]] = []
    for class_id, item in enumerate(definition.classes):
        name = table.get(item.name, item.name)
        if variant == "name":
            found.append((name, class_id))
        elif variant == "guideline":
            found.append((item.guideline or name, class_id))
        else:
            found += [(text if text in names else table.get(text, text), class_id) for text in item.concepts]
    return Texts(texts=tuple(text for text, _ in found), class_of_text=tuple(class_id for _, class_id in found))


def prompts(text: str, templates: Sequence[str]) -> tuple[str, ...]:
    """Put `text` into every template, at its `{}`; other braces stay as they are."""
    return tuple(template.replace(PLACEHOLDER, text) for template in templates)


def as_read(text: str) -> str:
    """Return `text` as CLIP's tokenizer sees it as far as writers care: lower case, single spaces."""
    return " ".join(text.split()).lower()
