"""Dense CLIP guidance against loops over pixels and concepts."""

import pytest
import torch
import torch.nn.functional as F

from semivl_cli.model.encoders.dense_vit import DenseEncoder, EncoderSpec
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.pixels import IMAGENET_STATISTICS

SPEC = EncoderSpec(
    width=8,
    layers=1,
    heads=2,
    mlp_width=8,
    patch_size=4,
    grid=(3, 4),
    embed_dim=6,
    activation="quick_gelu",
    norm_eps=1e-5,
    pre_norm=True,
    pool="tok",
    norm_after_pool=True,
)
CLASS_OF_CONCEPT = [2, 0, 1, 2, 2, 0]


def build(aggregate, class_of_concept=CLASS_OF_CONCEPT) -> DenseClip:
    torch.manual_seed(0)
    text = F.normalize(torch.randn(len(class_of_concept), 6), dim=1)
    return DenseClip(DenseEncoder(SPEC), text, class_of_concept, 7.0, IMAGENET_STATISTICS, aggregate).double()


def image(*size) -> torch.Tensor:
    return torch.randint(256, (2, 3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def best_of_class(concepts) -> torch.Tensor:
    """Maximum over the concepts of each class, one number at a time: `[B, K, h, w] -> [B, N, h, w]`."""
    b, _, h, w = concepts.shape
    best = torch.full((b, 3, h, w), -torch.inf, dtype=concepts.dtype)
    for i in range(b):
        for k, class_id in enumerate(CLASS_OF_CONCEPT):
            for y in range(h):
                for x in range(w):
                    best[i, class_id, y, x] = max(best[i, class_id, y, x], concepts[i, k, y, x])
    return best


def test_similarities_are_inner_products_with_every_concept():
    guide, pixels = build("similarity"), image(12, 16)
    dense = guide.encoder(guide.normalize(pixels, torch.float64)).dense
    ours = guide.similarities(pixels)
    assert ours.shape == (2, 6, 3, 4) and float(ours.abs().max()) <= 1 + 1e-9
    for k in range(6):
        for y in range(3):
            for x in range(4):
                assert float(ours[1, k, y, x]) == pytest.approx(float(dense[1, :, y, x] @ guide.text[k]))


@pytest.mark.parametrize("size", [(12, 16), (10, 21)])
def test_similarity_takes_the_maximum_first_and_the_softmax_over_classes_last(size):
    guide, pixels = build("similarity"), image(*size)
    best = best_of_class(guide.similarities(pixels))
    resized = F.interpolate(best, size=size, mode="bilinear", align_corners=False)
    assert torch.allclose(guide.probabilities(pixels), (7.0 * resized).softmax(dim=1))


@pytest.mark.parametrize("size", [(12, 16), (10, 21)])
def test_probability_takes_the_softmax_over_concepts_first_and_the_maximum_last(size):
    guide, pixels = build("probability"), image(*size)
    best = best_of_class((7.0 * guide.similarities(pixels)).softmax(dim=1))
    resized = F.interpolate(best, size=size, mode="bilinear", align_corners=False)
    ours = guide.probabilities(pixels)
    assert torch.allclose(ours, resized)
    assert float(ours.sum(dim=1).max()) < 1


def test_the_two_agree_where_every_class_is_one_concept_and_no_resizing_lies_between():
    order = [1, 0, 2]
    one, other = (build(aggregate, order) for aggregate in ("similarity", "probability"))
    corner = (slice(None), slice(None), 0, 0)  # the first pixel shows the first patch alone
    assert torch.allclose(one.probabilities(image(12, 16))[corner], other.probabilities(image(12, 16))[corner])


def test_label_and_confidence_are_the_best_class_and_its_probability():
    guide, pixels = build("similarity"), image(10, 21)
    said, probabilities = guide(pixels), guide.probabilities(pixels)
    assert said.label.shape == said.confidence.shape == (2, 10, 21)
    assert torch.equal(said.label, probabilities.argmax(dim=1))
    assert torch.equal(said.confidence, probabilities.amax(dim=1))


def test_the_frozen_clip_has_nothing_to_train_and_leaves_no_graph():
    guide = build("similarity")
    assert not any(parameter.requires_grad for parameter in guide.parameters())
    assert not guide(image(12, 16)).confidence.requires_grad
