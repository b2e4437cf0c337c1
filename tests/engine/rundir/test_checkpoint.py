"""A model comes back from its checkpoint as it was, also from one that an earlier version wrote."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from semivl_cli.engine.rundir.checkpoint import load_checkpoint, save_checkpoint
from semivl_cli.model.build import ModelSpec
from semivl_cli.model.decoders.decoder import DecoderSpec
from semivl_cli.model.pixels import IMAGENET_STATISTICS

from ...model.tiny_vit import TINY_VIT

DECODER = DecoderSpec(
    embed_dim=6,
    skip_channels=(8, 8),
    width=8,
    text_width=8,
    up_widths=(8, 8),
    skip_widths=(4, 4),
    dilations=(1, 2),
    layers=1,
    heads=2,
    pool=2,
)


def keep(run, kind, smallest):
    """Save a fresh model with four classes; returns it."""
    spec = ModelSpec(
        encoder=TINY_VIT,
        decoder=DECODER,
        skips=(0, 1),
        skip_path="block",
        statistics=IMAGENET_STATISTICS,
        output_size=None,
        detail_base=None,
        decoder_kind=kind,
    )
    assert spec.smallest == smallest
    model = spec.build(torch.randn(4, 6))
    save_checkpoint(run, 3, model, spec, torch.optim.AdamW(model.parameters()), "", "", {})
    return model


@pytest.mark.parametrize(("kind", "smallest"), [("language", 5), ("convolutional", 1)])
def test_a_model_comes_back_whole(tmp_path, kind, smallest):
    model = keep(tmp_path, kind, smallest)
    stored = load_checkpoint(tmp_path, 3)
    image = torch.randint(0, 256, (1, 3, smallest, 13), dtype=torch.uint8)
    assert (stored.spec.decoder_kind, stored.spec.smallest) == (kind, smallest)
    assert model(image).shape == (1, 4, smallest, 13)
    assert torch.equal(stored.model(image), model(image))


def test_a_checkpoint_that_knows_no_kinds_of_decoder_has_the_language_guided_one(tmp_path):
    model = keep(tmp_path, "language", 5)
    path = tmp_path / "checkpoints" / "3" / "model.safetensors"
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["semivl"])
    del header["spec"]["decoder_kind"]
    save_file(load_file(path), path, metadata={"semivl": json.dumps(header)})
    stored = load_checkpoint(tmp_path, 3)
    image = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(stored.model(image), model(image))
