"""The convolutional decoder: what it reads, what it ignores, and that all of it learns."""

import pytest
import torch

from semivl_cli.model.decoders.convolutional import ConvolutionalDecoder
from semivl_cli.model.decoders.decoder import DecoderSpec
from semivl_cli.model.features import Features, perturb

CLASSES = 5
TEXT = torch.zeros(CLASSES, 6, dtype=torch.float64)


@pytest.fixture
def decoder() -> ConvolutionalDecoder:
    torch.manual_seed(0)
    used = {"embed_dim": 6, "skip_channels": (5, 7), "width": 32, "up_widths": (32, 16), "skip_widths": (8, 4)}
    spec = DecoderSpec(**used, dilations=(1, 2), text_width=0, layers=0, heads=0, pool=0)
    return ConvolutionalDecoder(spec, CLASSES).double()


def features(h=4, w=6, b=2) -> Features:
    rng = torch.Generator().manual_seed(1)
    shapes = ((b, 5, 9, 11), (b, 7, h, w), (b, 6, h, w))  # the earlier as a detail encoder's, of another size
    earlier, later, dense = (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in shapes)
    return Features((earlier, later), dense)


@pytest.mark.parametrize("size", [(4, 6), (1, 1)])
def test_logits_have_four_times_the_grid_of_patches(decoder, size):
    assert decoder(features(*size), TEXT).shape == (2, CLASSES, 4 * size[0], 4 * size[1])


def test_texts_change_nothing_and_other_classes_are_refused(decoder):
    seen = features()
    assert torch.equal(decoder(seen, TEXT), decoder(seen, TEXT + 3))
    with pytest.raises(AssertionError, match="classes"):
        decoder(seen, TEXT[:2])


def test_every_parameter_and_every_feature_learns(decoder):
    seen = features()
    maps = [*seen.skips, seen.dense]
    for each in maps:
        each.requires_grad_()
    decoder(seen, TEXT).log_softmax(dim=1)[:, 1].mean().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert all(each.grad.abs().amax(dim=(0, 2, 3)).min() > 0 for each in maps)  # every channel


def test_a_patch_is_seen_over_the_whole_map(decoder):
    """Image pooling: the dilated convolutions alone reach 2 patches here, the upsampling 1 more."""
    seen = features(w=24)
    nudged = seen._replace(dense=seen.dense.clone())
    nudged.dense[..., 0] += 1
    for norm in [m for m in decoder.modules() if isinstance(m, torch.nn.GroupNorm)]:
        norm.forward = lambda x: x  # a norm sees the whole map too
    assert not torch.allclose(decoder(seen, TEXT)[..., -4:], decoder(nudged, TEXT)[..., -4:])


def test_the_perturbation_reaches_it(decoder):
    seen = features()
    multipliers = [torch.ones(2, skip.shape[1]) for skip in seen.skips] + [torch.tensor([[0.0, 2.0] * 3] * 2)]
    assert not torch.allclose(decoder(perturb(seen, multipliers), TEXT), decoder(seen, TEXT))
