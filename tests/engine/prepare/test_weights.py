"""Weights that are prepared once are known afterwards by their tag."""

import shutil

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from semivl_cli.engine.prepare.weights import prepare_weights
from semivl_cli.errors import InputError
from semivl_cli.model.clip import load_clip
from semivl_cli.reporter import Silence

from ...model.test_transformers_layout import as_transformers


def test_kept_weights_are_found_by_their_tag(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMIVL_WEIGHTS", str(tmp_path / "kept"))
    torch.manual_seed(1)
    state = open_clip.CLIP(**open_clip.get_model_config("ViT-S-32-alt")).state_dict()
    given = str(tmp_path / "mine.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, given)
    kept = prepare_weights("ViT-S-32-alt", given, Silence())
    assert kept == tmp_path / "kept" / "ViT-S-32-alt" / "mine.safetensors"
    assert load_clip("ViT-S-32-alt", "mine").sha256 == load_clip("ViT-S-32-alt", given).sha256
    with pytest.raises(InputError, match=r"another\.bin"):
        prepare_weights("ViT-S-32-alt", str(tmp_path / "another.bin"), Silence())
    with pytest.raises(InputError, match="do not fit"):
        prepare_weights("ViT-M-32-alt", given, Silence())


def test_weights_in_transformers_layout_are_kept_in_open_clips_with_their_activation(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMIVL_WEIGHTS", str(tmp_path / "kept"))
    torch.manual_seed(1)
    state = open_clip.CLIP(**open_clip.get_model_config("ViT-S-32-alt")).state_dict()
    given = {name: tensor.contiguous() for name, tensor in as_transformers(state).items()}
    file = tmp_path / "mine" / "model.safetensors"
    file.parent.mkdir()
    save_file(given, file)
    file.with_name("config.json").write_text('{"model_type": "clip", "vision_config": {"hidden_act": "gelu"}}')
    kept = prepare_weights("ViT-S-32-alt", str(file), Silence())
    shutil.rmtree(file.parent)
    assert load_clip("ViT-S-32-alt", "model").spec.activation == "gelu"
    assert load_file(kept).keys() == state.keys()
    assert torch.equal(load_file(kept)["visual.proj"], state["visual.proj"])
