"""The spec of a model: what a checkpoint keeps of it, and which settings it follows."""

import json
from dataclasses import asdict

import pytest
import torch

from semivl_cli.config import ModelSettings
from semivl_cli.errors import InputError
from semivl_cli.model.build import DECODERS, ModelSpec, encoder_spec
from semivl_cli.model.decoders.decoder import DecoderSpec
from semivl_cli.model.pixels import IMAGENET_STATISTICS

from .tiny_vit import TINY_VIT


def spec(**changes) -> ModelSpec:
    widths = {"width": 8, "text_width": 8, "up_widths": (8, 8), "skip_widths": (4, 4), "layers": 1, "heads": 2}
    widths["dilations"] = (1, 2)
    fields = {"encoder": TINY_VIT, "decoder": DecoderSpec(embed_dim=6, skip_channels=(8, 8), pool=2, **widths)}
    fields |= {"skips": (0, 1), "skip_path": "block", "statistics": IMAGENET_STATISTICS, "output_size": None}
    return ModelSpec(**{**fields, "detail_base": None, **changes})


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("detail", [None, 4])
def test_a_spec_comes_back_from_json(kind, detail):
    original = spec(decoder_kind=kind, detail_base=detail, output_size=12)
    assert ModelSpec(**json.loads(json.dumps(asdict(original)))) == original


def test_a_spec_with_a_field_that_this_version_does_not_know_is_refused():
    fields = asdict(spec())
    with pytest.raises(ValueError, match="teacher"):
        ModelSpec(**{**fields, "teacher": "x"})
    with pytest.raises(ValueError, match="depth"):
        ModelSpec(**{**fields, "decoder": {**fields["decoder"], "depth": 3}})


@pytest.mark.parametrize("kind", DECODERS)
def test_every_decoder_takes_its_smallest_image_and_any_text(kind):
    model = spec(decoder_kind=kind).build(torch.randn(4, 6))
    smallest = spec(decoder_kind=kind).smallest
    assert model(torch.zeros(1, 3, smallest, smallest, dtype=torch.uint8)).shape == (1, 4, smallest, smallest)


def test_an_unknown_decoder_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"decoder\.kind = 'linear': expected 'language' or 'convolutional'"):
        spec(decoder_kind="linear").build(torch.randn(4, 6))


def test_a_clip_is_read_as_it_is_unless_the_settings_say_otherwise():
    assert encoder_spec(TINY_VIT, ModelSettings(), "checkpoint") == TINY_VIT
    changed = encoder_spec(TINY_VIT, ModelSettings(activation="gelu", norm_eps=1e-6), 32)
    assert (changed.activation, changed.norm_eps, changed.grid) == ("gelu", 1e-6, (8, 8))
