"""Words to vectors: one a class for the decoder, one a concept (or class) for the guidance, once per run (Sec. 3.6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from semivl_cli.concepts.prompts import as_read, prompts, texts
from semivl_cli.concepts.schema import Definition
from semivl_cli.engine.nearness import find_same
from semivl_cli.errors import InputError
from semivl_cli.model.clip import TextTower

ClassText = Literal["name", "guideline", "mean"]

SAME_WORDS = (
    "this CLIP reads both as the same words (it may not know them, or they differ only beyond the length that it "
    "reads); reword one"
)


def embed_classes(tower: TextTower, definition: Definition, text: ClassText, published: bool) -> Tensor:
    """Embed each class by its name, its guideline sentence or the mean over its concepts.

    Args:
        tower: CLIP's text encoder.
        definition: class names, concepts, guidelines, templates.
        text: which words.
        published: whether the spellings of the published run are taken.

    Returns:
        Float32 `[N, D]`, unit length.

    Raises:
        InputError: the words of two classes are the same to this CLIP.
    """
    vectors = class_vectors(tower, definition, text, published)
    for first, second in find_same(vectors, range(len(vectors))):
        a, b = definition.names[first], definition.names[second]
        raise InputError(f'the classes "{a}" and "{b}" have the same text vector ({text}): {SAME_WORDS}')
    return vectors


def embed_concepts(tower: TextTower, definition: Definition, published: bool) -> tuple[Tensor, tuple[int, ...]]:
    """Embed every concept: float32 `[K, D]`, unit length, and the class id of each.

    Raises:
        InputError: two different concepts of two classes are the same to this CLIP. The same text in two classes is
            a matter of the definition: `validate` warns of it, and the class with the lower id wins.
    """
    words = texts(definition, "concepts", published)
    vectors = concept_vectors(tower, definition, published)
    for first, second in different_words(find_same(vectors, words.class_of_text), words.texts):
        a, b = (f'"{words.texts[i]}" ({definition.names[words.class_of_text[i]]})' for i in (first, second))
        raise InputError(f"the concepts {a} and {b} have the same text vector: {SAME_WORDS}")
    return vectors, words.class_of_text


def class_vectors(tower: TextTower, definition: Definition, text: ClassText, published: bool) -> Tensor:
    """Embed classes like `embed_classes`, but let two of them be the same."""
    words = texts(definition, "concepts" if text == "mean" else text, published)
    vectors = _embed(tower, words.texts, definition.templates)
    if text == "mean":  # over vectors that are not normalised, as published
        class_ids = torch.tensor(words.class_of_text)
        vectors = torch.stack([vectors[class_ids == n].mean(dim=0) for n in range(len(definition.classes))])
    return F.normalize(vectors, dim=1)


def concept_vectors(tower: TextTower, definition: Definition, published: bool) -> Tensor:
    """Embed concepts like `embed_concepts`, but let two of them be the same."""
    return F.normalize(_embed(tower, texts(definition, "concepts", published).texts, definition.templates), dim=1)


def different_words(pairs: Iterable[tuple[int, int]], words: Sequence[str]) -> list[tuple[int, int]]:
    """Keep the pairs of rows whose words differ for a reader of CLIP's prompts, who sees no case and no spacing."""
    return [(first, second) for first, second in pairs if as_read(words[first]) != as_read(words[second])]


def _embed(tower: TextTower, words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Embed words in every template: `[K, D]`; several templates are averaged, each at unit length."""
    filled = [prompt for word in words for prompt in prompts(word, templates)]
    vectors = tower.embed(filled).view(len(words), len(templates), -1)
    return vectors[:, 0] if len(templates) == 1 else F.normalize(vectors, dim=2).mean(dim=1)
