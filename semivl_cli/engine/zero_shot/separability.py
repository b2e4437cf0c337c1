"""Asks a CLIP whether it can tell the words of a definition apart: the part of `validate` that needs weights."""

from __future__ import annotations

from semivl_cli.concepts.checks import Severity
from semivl_cli.concepts.lines import Path, line_of, parse_with_lines
from semivl_cli.concepts.load import parse_definition
from semivl_cli.concepts.prompts import as_read, texts
from semivl_cli.concepts.validate import Problem
from semivl_cli.engine.nearness import find_near, find_same
from semivl_cli.engine.text_vectors import different_words
from semivl_cli.engine.zero_shot.embed import text_vectors
from semivl_cli.engine.zero_shot.segmenter import frozen_config
from semivl_cli.reporter import Reporter


def indistinct_words(
    content: bytes, source: str, *, weights: str | None, dataset: str | None, reporter: Reporter
) -> list[Problem]:
    """List concepts of different classes, and classes, whose text vectors are the same or near.

    Args:
        content: of a definition file without errors.
        source: its path or shipped name.
        weights: which CLIP, as `frozen_config` takes it.
        dataset: whose recipe rules, likewise.
        reporter: hears what is loaded.

    Raises:
        InputError: no such CLIP, or a word that it cannot read.
    """
    config = frozen_config(definition=source, weights=weights, dataset=dataset)
    definition = parse_definition(content, source)
    _, lines = parse_with_lines(content.decode("utf-8-sig"))
    vectors = text_vectors(config, definition, reporter)
    words = texts(definition, "concepts", config.fidelity == "published")

    def concept(row: int) -> str:
        return f'"{words.texts[row]}" ({definition.names[words.class_of_text[row]]})'

    def problem(path: Path, code: str, message: str, advice: str) -> Problem:
        severity: Severity = "error" if code == "same-vector" else "warning"
        return Problem(
            file=source, line=line_of(path, lines), severity=severity, code=code, message=message, advice=advice
        )

    found: list[Problem] = []
    for first, second in different_words(find_same(vectors.concepts, words.class_of_text), words.texts):
        message = f"this CLIP reads {concept(second)} and {concept(first)} as the same words"
        found.append(problem(_place(words.class_of_text, second), "same-vector", message, "reword one of them"))
    variant = config.decoder.text
    for first, second in find_same(vectors.classes[variant], range(len(definition.classes))):
        a, b = definition.names[first], definition.names[second]
        message = f"the classes {b} and {a} have the same vector for the decoder ({variant})"
        found.append(problem(("class", second), "same-vector", message, "give one of them other words"))
    for near in find_near(vectors.concepts, words.class_of_text):
        if as_read(words.texts[near.first]) != as_read(words.texts[near.second]):
            message = (
                f"this CLIP hardly tells {concept(near.second)} from {concept(near.first)}: cosine {near.cosine:.3f}, "
                f"{near.relative:.0%} of the usual distance between classes"
            )
            advice = "reword one, leave one out, or put both into one class"
            place = _place(words.class_of_text, near.second)
            found.append(problem(place, "near-concepts", message, advice))
    return sorted(found, key=lambda one: (one.line, one.severity))


def _place(class_of_text: tuple[int, ...], row: int) -> Path:
    """Where a concept stands in the file; its class, where that lists none."""
    class_id = class_of_text[row]
    return ("class", class_id, "concepts", row - class_of_text.index(class_id))
