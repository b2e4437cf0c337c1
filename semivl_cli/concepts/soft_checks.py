"""What a definition may do but probably should not: only `concepts validate` looks for it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from semivl_cli.concepts.checks import SEVERAL
from semivl_cli.concepts.lookalike import find_lookalikes
from semivl_cli.concepts.problems import Finding, quote
from semivl_cli.concepts.prompts import PLACEHOLDER, as_read, prompts
from semivl_cli.concepts.tokens import CONTEXT_LENGTH, find_cut
from semivl_cli.concepts.words import Words, parts

_NOT = re.compile(r"\b(not|never|without|except|excluding)\b", re.IGNORECASE)
_NOT_AT_THE_START = re.compile(r"\s*(not|non|never|anything but|everything but|other than|no \S+\s*$)\b", re.IGNORECASE)


def find_warnings(words: Words) -> Iterator[Finding]:
    """Yield what deserves a second look in the texts of a file."""
    yield from _shared(words)
    yield from _several_or_none(words)
    yield from _lookalikes(words)
    yield from _many_placeholders(words)
    yield from _long_prompts(words)


def _shared(words: Words) -> Iterator[Finding]:
    named = {(as_read(text.text), text.class_id) for text in words.names}
    for concept, message, excluder in words.shared():
        alike = any(name == as_read(concept.text) and owner != concept.class_id for name, owner in named)
        if excluder is None and not (alike and concept.path[-1] == "name"):  # then the two names look alike
            advice = "guidance cannot tell the two apart by it"
            yield Finding(concept.path, "shared-concept", message, advice, "warning")


def _several_or_none(words: Words) -> Iterator[Finding]:
    """Find lists that became one text, and what CLIP reads without its "not"; sentences may have commas."""
    for concept in words.concepts:
        count = len(as_read(concept.text).split())
        if "," in concept.text and all(0 < len(part.split()) <= 3 for part in parts(concept.text)):
            message = f"{quote(concept.text)} is read as one concept"
            yield Finding(concept.path, "several-texts", message, SEVERAL, "warning")
        if _NOT_AT_THE_START.match(concept.text) or (count <= 5 and _NOT.search(concept.text)):
            message = f"CLIP passes over negations: {quote(concept.text)} finds the very thing"
            advice = "say what it is; what it is not belongs to excludes"
            yield Finding(concept.path, "negation", message, advice, "warning")


def _lookalikes(words: Words) -> Iterator[Finding]:
    """Compare class names with one another, and concepts with those of other classes."""
    named = {(text.class_id, text.text) for text in words.names}
    for kind, texts in (("class name", words.names), ("concept", words.concepts)):
        for first, second, difference in find_lookalikes([text.text for text in texts]):
            one, two = texts[first], texts[second]
            if one.class_id == two.class_id or (kind == "concept" and as_read(one.text) == as_read(two.text)):
                continue  # synonyms are welcome within a class; texts that CLIP reads alike count as shared
            if kind == "concept" and {one[1::-1], two[1::-1]} <= named:
                continue  # both are names, which have been compared
            message = f"{kind} {quote(two.text)} looks like {quote(one.text)} of class {one.class_id} ({difference})"
            yield Finding(two.path, "look-alike", message, "choose words that differ more, or join them", "warning")


def _many_placeholders(words: Words) -> Iterator[Finding]:
    for template, path in words.templates:
        if (count := template.count(PLACEHOLDER)) > 1:
            message = f"the template {quote(template)} has {count} times {PLACEHOLDER}"
            yield Finding(path, "many-placeholders", message, "the text goes to each of them: keep one", "warning")


def _long_prompts(words: Words) -> Iterator[Finding]:
    templates = [text for text, _ in words.templates] or ["a photo of a {}"]
    texts = [*words.names, *words.guidelines, *words.concepts]
    for text, path in dict.fromkeys((text, path) for text, _, path in texts):
        cuts = [cut for prompt in prompts(text, templates) if (cut := find_cut(prompt))]
        if cuts:
            tokens, kept = max(cuts)
            message = f"the prompt has {tokens} tokens, CLIP reads {CONTEXT_LENGTH} and stops after {quote(kept[-30:])}"
            yield Finding(path, "long-prompt", message, "say it shorter, or split it into concepts", "warning")
