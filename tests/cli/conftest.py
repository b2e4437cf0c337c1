"""Scenes of the demo as picture files, and a CLIP that reads every word."""

import json

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from semivl_cli.data.registry import open_dataset
from semivl_cli.engine.precedence import configure
from semivl_cli.palette import save_image


@pytest.fixture
def scenes(tmp_path):
    folder = tmp_path / "scenes"
    folder.mkdir()
    for record in list(open_dataset("shapes").records(None, "val"))[:2]:
        save_image(folder / f"{record.id.replace('/', '-')}.png", record.image())
    return folder


@pytest.fixture(scope="module")
def large_vocabulary(tmp_path_factory):
    """A CLIP of random weights that reads every word, as a file that says what it is."""
    config = configure({"recipe": "tiny"}).model.clip
    torch.manual_seed(0)
    state = {name: tensor.contiguous() for name, tensor in open_clip.CLIP(**config).state_dict().items()}
    path = tmp_path_factory.mktemp("clip") / "tiny.safetensors"
    save_file(
        {name: tensor for name, tensor in state.items() if name != "attn_mask"},
        path,
        {"open_clip_config": json.dumps(config)},
    )
    return path
