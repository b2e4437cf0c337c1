"""Asks a CLIP whether it can tell the words of a definition apart: the part of `validate` that needs weights."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import numpy as np
from torch import Tensor

from semivl_cli.concepts.load import definition_bytes, parse_definition, parse_file
from semivl_cli.concepts.problems import Finding, Problem
from semivl_cli.concepts.prompts import as_read, texts
from semivl_cli.concepts.toml_lines import Path
from semivl_cli.engine.text_vectors import SAME, distances, find_same, same_concepts
from semivl_cli.engine.zero_shot.embed import embed
from semivl_cli.engine.zero_shot.recipe import zero_shot_config
from semivl_cli.reporter import Reporter

NEAR = 0.5
"""Near texts lie less than half as far apart as texts of different classes usually do (the median)."""

UNUSUAL = 3.0
"""They also lie that many deviations below the median, so that towers whose distances scatter accuse fewer pairs."""


def indistinct_words(name: str, *, weights: str | None, dataset: str | None, reporter: Reporter) -> list[Problem]:
    """List concepts of different classes, and classes, whose text vectors are the same or near.

    `name`: of a definition without errors; the others are as `zero_shot_config` takes them.

    Raises:
        InputError: no such CLIP, or a word that it cannot read.
    """
    content, source = definition_bytes(name)
    config = zero_shot_config(definition=name, weights=weights, dataset=dataset)
    definition = parse_definition(content, source, config.fidelity)
    vectors = embed(config, definition, reporter).tensors
    words, variant = texts(definition, "concepts"), config.decoder.text

    def concept(row: int) -> str:
        return f'"{words.texts[row]}" ({definition.names[words.class_of_text[row]]})'

    def path_of(row: int) -> Path:
        class_id = words.class_of_text[row]  # where the class lists no concepts, its own line is the nearest
        return ("class", class_id, "concepts", row - words.class_of_text.index(class_id))

    found: list[Finding] = []
    for first, second in same_concepts(vectors["concepts"], words):
        message = f"this CLIP reads {concept(second)} and {concept(first)} as the same words"
        found.append(Finding(path_of(second), "same-vector", message, "reword one of them"))
    for first, second in find_same(vectors[variant], range(len(definition.classes))):
        a, b = definition.names[first], definition.names[second]
        message = f"the classes {b} and {a} have the same vector for the decoder ({variant})"
        found.append(Finding(("class", second), "same-vector", message, "give one of them other words"))
    for first, second, cosine, relative in find_near(vectors["concepts"], words.class_of_text):
        if as_read(words.texts[first]) != as_read(words.texts[second]):
            distance = f"cosine {cosine:.3f}, {relative:.0%} of the usual distance between classes"
            message = f"this CLIP hardly tells {concept(second)} from {concept(first)}: {distance}"
            advice = "reword one, leave one out, or put both into one class"
            found.append(Finding(path_of(second), "near-concepts", message, advice, "warning"))
    return parse_file(content, source).problems(found)


def find_near(vectors: Tensor, class_of_text: Sequence[int]) -> list[tuple[int, int, float, float]]:
    """List the pairs of different classes that are near but not one, the nearest first.

    Of each pair come the rows, the lower one first, the cosine, and the distance as a share of the median distance.

    All text vectors (`[K, D]`, unit length) of a CLIP lie in a narrow cone (cosines of 0.7 and more are common, and how
    narrow it is differs from CLIP to CLIP), so a pair is compared with the other pairs of the same definition, never
    with a fixed cosine.
    """
    apart = distances(vectors, class_of_text)
    pairs = apart[apart.isfinite()].numpy()
    if not len(pairs):
        return []
    usual = float(np.median(pairs))
    deviation = 1.4826 * float(np.median(np.abs(pairs - usual)))  # of a normal distribution with this median deviation
    limit = min(NEAR * usual, usual - UNUSUAL * deviation)
    found = ((apart >= SAME) & (apart < limit)).nonzero().tolist()
    near = [(i, j, 1 - float(apart[i, j]) ** 2 / 2, float(apart[i, j]) / usual) for i, j in found]
    return sorted(near, key=itemgetter(3))
