"""Dense CLIP guidance: labels from a frozen CLIP that cannot drift (Sec. 3.5, 3.6; Eq. 4, 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from semivl_cli.model.encoders.dense_vit import DenseEncoder
from semivl_cli.model.pixels import Normalize, Statistics, resize

Aggregate = Literal["similarity", "probability"]


class Guidance(NamedTuple):
    """What the frozen CLIP says of each pixel."""

    label: Tensor
    """Most probable class, int64 `[B, H, W]`."""
    confidence: Tensor
    """Its probability, 0..1, `[B, H, W]`."""


class DenseClip(nn.Module):
    """Zero-shot segmentation with a frozen encoder.

    Args:
        encoder: dense CLIP encoder; frozen here, without skips.
        text: concept vectors `[K, D]` of unit length, not normalised again.
        class_of_concept: class id of each of the `K` concepts; every class 0..N-1 has at least one.
        temperature: factor of the similarities before the softmax (CLIP's logit scale; 100 for OpenAI's).
        statistics: of the images that the encoder expects.
        aggregate: `probability`: softmax over concepts, then the maximum of each class (Eq. 5);
            `similarity`: maximum first, softmax over the classes (the published code).
    """

    text: Tensor
    concepts_of_class: Tensor

    def __init__(
        self,
        encoder: DenseEncoder,
        text: Tensor,
        class_of_concept: Sequence[int],
        temperature: float,
        statistics: Statistics,
        aggregate: Aggregate,
    ) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False).eval()
        self.normalize = Normalize(*statistics)
        self.temperature, self.aggregate = temperature, aggregate
        self.register_buffer("text", text.float())
        self.register_buffer("concepts_of_class", _concepts_of_class(class_of_concept))

    @torch.no_grad()
    def similarities(self, image: Tensor) -> Tensor:
        """uint8 RGB `[B, 3, H, W]` -> similarity of every patch with every concept `[B, K, h, w]`, -1..1."""
        dense = self.encoder(self.normalize(image, self.encoder.projection.weight.dtype)).dense
        return torch.einsum("bdhw,kd->bkhw", dense, self.text.to(dense.dtype))

    @torch.no_grad()
    def probabilities(self, image: Tensor) -> Tensor:
        """uint8 RGB `[B, 3, H, W]` -> p_DC `[B, N, H, W]`, 0..1; with `probability` they need not add up to 1."""
        return self.of_classes(self.similarities(image), (image.shape[2], image.shape[3]))

    def of_classes(self, similarities: Tensor, size: tuple[int, int]) -> Tensor:
        """Similarities of `similarities()`, `[B, K, h, w]` -> p_DC `[B, N, *size]` (Eq. 5)."""
        concepts = similarities.to(torch.promote_types(similarities.dtype, torch.float32))
        if self.aggregate == "probability":
            concepts = (concepts * self.temperature).softmax(dim=1)
        best = concepts[:, self.concepts_of_class].amax(dim=2)  # [B, N, most concepts, h, w] before the maximum
        classes = resize(best, size)
        return classes if self.aggregate == "probability" else (classes * self.temperature).softmax(dim=1)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Guidance:
        """uint8 RGB `[B, 3, H, W]` -> class and confidence of each pixel."""
        confidence, label = self.probabilities(image).max(dim=1)
        return Guidance(label, confidence)


def _concepts_of_class(class_of_concept: Sequence[int]) -> Tensor:
    """Concept rows of each class, int64 `[N, most]`; short rows repeat their first, which no maximum notices."""
    rows: list[list[int]] = [[] for _ in range(max(class_of_concept) + 1)]
    for concept, class_id in enumerate(class_of_concept):
        rows[class_id].append(concept)
    most = max(map(len, rows))
    return torch.tensor([row + [row[0]] * (most - len(row)) for row in rows])
