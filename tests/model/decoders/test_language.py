"""The decoder: reach of its convolutions, its norms, and what it does with classes."""

import pytest
import torch
from torch import nn

from semivl_cli.config import RunConfig
from semivl_cli.model.decoders.decoder import DecoderSpec
from semivl_cli.model.decoders.language import LanguageGuidedDecoder, SemanticReasoning, SpatialReasoning
from semivl_cli.model.features import Features


def tiny(**changes) -> LanguageGuidedDecoder:
    torch.manual_seed(0)
    numbers = {"embed_dim": 6, "skip_channels": (5, 7), "width": 32, "text_width": 16, "up_widths": (32, 16)}
    numbers |= {"skip_widths": (8, 4), "dilations": (6, 12, 18), "layers": 2, "heads": 4, "pool": 2, **changes}
    return LanguageGuidedDecoder(DecoderSpec(**numbers), classes=5).double()


def features(h=4, w=6, b=2) -> Features:
    rng = torch.Generator().manual_seed(1)
    shapes = ((b, 5, 9, 11), (b, 7, h, w), (b, 6, h, w))
    earlier, later, dense = (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in shapes)
    return Features((earlier, later), dense)


def test_the_context_reaches_as_far_as_the_published_dilations():
    dilations = tuple(RunConfig().decoder.dilations)
    spatial = SpatialReasoning(16, dilations).double()
    for norm in [m for m in spatial.modules() if isinstance(m, nn.GroupNorm)]:
        norm.forward = lambda x: x  # a norm sees the whole map
    nn.init.zeros_(spatial.pooled[0].weight)
    x = torch.full((1, 16, 41, 41), 0.1, dtype=torch.float64)
    for module in spatial.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.abs_()  # so that no ReLU hides an answer
    nudged = x.clone()
    nudged[:, :, 20, 20] += 1
    moved = (spatial(nudged) - spatial(x)).abs().sum(dim=(0, 1))
    rows = sorted({abs(int(y) - 20) for y, _ in moved.nonzero()})
    assert rows == [0, 6, 12, 18]


def test_semantic_reasoning_normalises_with_eps_1e_5():
    """Tokens that hardly vary show the eps of a layer norm."""
    layer = SemanticReasoning(8, 8, 2, 2).double()
    tokens = 1e-3 * torch.randn(2, 3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    centred = tokens - tokens.mean(dim=-1, keepdim=True)
    expected = centred / (tokens.var(dim=-1, correction=0, keepdim=True) + 1e-5).sqrt()
    for norm in (layer.transformer.norm1, layer.transformer.norm2):
        assert torch.allclose(norm(tokens), expected, rtol=1e-6)


def test_classes_may_come_in_any_order_and_number():
    decoder, seen = tiny(), features()
    text = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    logits = decoder(seen, text)
    order = [3, 0, 4, 1, 2]
    assert logits.shape == (2, 5, 16, 24)
    assert torch.allclose(decoder(seen, text[order]), logits[:, order])
    assert decoder(seen, text[:2]).shape == (2, 2, 16, 24)


def test_images_of_a_batch_do_not_see_each_other():
    decoder, seen = tiny(), features()
    text = torch.randn(3, 6, dtype=torch.float64)
    alone = Features(tuple(skip[1:] for skip in seen.skips), seen.dense[1:])
    assert torch.allclose(decoder(seen, text)[1:], decoder(alone, text))


def test_lengths_of_dense_vectors_and_texts_do_not_matter():
    decoder, seen = tiny(), features()
    text = torch.randn(3, 6, dtype=torch.float64)
    assert torch.allclose(decoder(seen, text), decoder(Features(seen.skips, 3 * seen.dense), 5 * text))


@pytest.mark.parametrize(("width", "groups"), [(8, 1), (16, 1), (32, 2), (128, 8)])
def test_groups_of_sixteen_channels_are_normalised_together(width, groups):
    norms = [m for m in SpatialReasoning(width, (1,)).modules() if isinstance(m, nn.GroupNorm)]
    assert {norm.num_groups for norm in norms} == {groups}


def test_pooling_drops_rows_and_columns_that_fill_no_cell():
    layer = SemanticReasoning(8, 8, 2, 4).double()
    text = torch.randn(3, 8, dtype=torch.float64)
    x = torch.randn(1, 3, 8, 9, 9, dtype=torch.float64)
    changed = x.clone()
    changed[..., 8, :] += 1
    changed[..., :, 8] += 1
    assert torch.allclose(layer(x, text) - x, layer(changed, text) - changed)
