"""Words to vectors: one a class for the decoder, one a concept (or class) for the guidance, once per run (Sec. 3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from semivl_cli.concepts.prompts import Texts, as_read, prompts, texts
from semivl_cli.concepts.schema import Definition
from semivl_cli.errors import InputError
from semivl_cli.model.clip import TextTower

ClassText = Literal["name", "guideline", "mean"]

SAME = 1e-5
"""Distance of unit vectors below which they are one: rounding makes a hundredth of it, another word a thousandfold."""

SAME_WORDS = (
    "this CLIP reads both as the same words (it may not know them, or they differ only beyond the length that it "
    "reads); reword one"
)


def embed_classes(tower: TextTower, definition: Definition, text: ClassText) -> Tensor:
    """Embed each class by its name, its guideline sentence or its concepts' mean: float32 `[N, D]`, unit length.

    Raises:
        InputError: the words of two classes are the same to this CLIP.
    """
    vectors = class_vectors(tower, definition, text)
    for first, second in find_same(vectors, range(len(vectors))):
        a, b = definition.names[first], definition.names[second]
        raise InputError(f'the classes "{a}" and "{b}" have the same text vector ({text}): {SAME_WORDS}')
    return vectors


def embed_concepts(tower: TextTower, definition: Definition) -> tuple[Tensor, tuple[int, ...]]:
    """Embed every concept: float32 `[K, D]`, unit length, and the class id of each.

    Raises:
        InputError: two different concepts of two classes are the same to this CLIP. The same text in two classes is
            a matter of the definition: `validate` warns of it, and the class with the lower id wins.
    """
    words = texts(definition, "concepts")
    vectors = concept_vectors(tower, definition)
    for first, second in same_concepts(vectors, words):
        a, b = (f'"{words.texts[i]}" ({definition.names[words.class_of_text[i]]})' for i in (first, second))
        raise InputError(f"the concepts {a} and {b} have the same text vector: {SAME_WORDS}")
    return vectors, words.class_of_text


def class_vectors(tower: TextTower, definition: Definition, text: ClassText) -> Tensor:
    """Embed classes like `embed_classes`, but let two of them be the same."""
    words = texts(definition, "concepts" if text == "mean" else text)
    vectors = _embed(tower, words.texts, definition.templates)
    if text == "mean":  # over vectors that are not normalised, as published
        class_ids = torch.tensor(words.class_of_text)
        vectors = torch.stack([vectors[class_ids == n].mean(dim=0) for n in range(len(definition.classes))])
    return F.normalize(vectors, dim=1)


def concept_vectors(tower: TextTower, definition: Definition) -> Tensor:
    """Embed concepts like `embed_concepts`, but let two of them be the same."""
    return F.normalize(_embed(tower, texts(definition, "concepts").texts, definition.templates), dim=1)


def same_concepts(vectors: Tensor, words: Texts) -> list[tuple[int, int]]:
    """List the pairs of rows of `[K, D]` whose words differ and belong to different classes, but are one vector."""
    pairs = find_same(vectors, words.class_of_text)
    return [(i, j) for i, j in pairs if as_read(words.texts[i]) != as_read(words.texts[j])]


def find_same(vectors: Tensor, class_of_text: Sequence[int]) -> list[tuple[int, int]]:
    """List the pairs of rows of `[K, D]` (unit length) that belong to different classes and are one vector."""
    return [(i, j) for i, j in (distances(vectors, class_of_text) < SAME).nonzero().tolist()]


def distances(vectors: Tensor, class_of_text: Sequence[int]) -> Tensor:
    """Distance of each pair of different classes, once (above the diagonal) `[K, K]`; infinite elsewhere."""
    exact = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    owner = torch.tensor(class_of_text)
    wanted = (owner[:, None] != owner).triu(diagonal=1)
    return exact.masked_fill(~wanted, torch.inf)


def _embed(tower: TextTower, words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Embed words in every template: `[K, D]`; several templates are averaged, each at unit length."""
    filled = [prompt for word in words for prompt in prompts(word, templates)]
    vectors = tower.embed(filled).view(len(words), len(templates), -1)
    return vectors[:, 0] if len(templates) == 1 else F.normalize(vectors, dim=2).mean(dim=1)
