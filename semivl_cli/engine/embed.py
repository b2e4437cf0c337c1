"""Words to vectors: one a class for the decoder, one a concept (or class) for the guidance, once per run (Sec. 3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ..concepts.prompts import prompts, texts
from ..concepts.schema import Definition
from ..model.clip import TextTower

ClassText = Literal["name", "guideline", "mean"]


def embed_classes(tower: TextTower, definition: Definition, text: ClassText, published: bool) -> Tensor:
    """Embed each class by its name, its guideline sentence or the mean over its concepts.

    Args:
        tower: CLIP's text encoder.
        definition: class names, concepts, guidelines, templates.
        text: which words.
        published: whether the spellings of the published run are taken.

    Returns:
        Float32 `[N, D]`, unit length.
    """
    words = texts(definition, "concepts" if text == "mean" else text, published)
    vectors = _embed(tower, words.texts, definition.templates)
    if text == "mean":  # over vectors that are not normalised, as published
        class_ids = torch.tensor(words.class_of_text)
        vectors = torch.stack([vectors[class_ids == n].mean(dim=0) for n in range(len(definition.classes))])
    return F.normalize(vectors, dim=1)


def embed_concepts(tower: TextTower, definition: Definition, published: bool) -> tuple[Tensor, tuple[int, ...]]:
    """Embed every concept: float32 `[K, D]`, unit length, and the class id of each."""
    words = texts(definition, "concepts", published)
    return F.normalize(_embed(tower, words.texts, definition.templates), dim=1), words.class_of_text


def _embed(tower: TextTower, words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Embed words in every template: `[K, D]`; several templates are averaged, each at unit length."""
    filled = [prompt for word in words for prompt in prompts(word, templates)]
    vectors = tower.embed(filled).view(len(words), len(templates), -1)
    return vectors[:, 0] if len(templates) == 1 else F.normalize(vectors, dim=2).mean(dim=1)
