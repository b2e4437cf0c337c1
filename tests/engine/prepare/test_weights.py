"""Weights that are prepared once are known afterwards by their tag."""

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from semivl_cli.engine.prepare.weights import prepare_weights
from semivl_cli.errors import InputError
from semivl_cli.model.clip import load_clip


def test_kept_weights_are_found_by_their_tag(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMIVL_WEIGHTS", str(tmp_path / "kept"))
    torch.manual_seed(1)
    state = open_clip.CLIP(**open_clip.get_model_config("ViT-S-32-alt")).state_dict()
    given = str(tmp_path / "mine.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, given)
    kept = prepare_weights("ViT-S-32-alt", given)
    assert kept == tmp_path / "kept" / "ViT-S-32-alt" / "mine.safetensors"
    assert load_clip("ViT-S-32-alt", "mine").sha256 == load_clip("ViT-S-32-alt", given).sha256
    with pytest.raises(InputError, match=r"another\.bin"):
        prepare_weights("ViT-S-32-alt", str(tmp_path / "another.bin"))
    with pytest.raises(InputError, match="do not fit"):
        prepare_weights("ViT-M-32-alt", given)
