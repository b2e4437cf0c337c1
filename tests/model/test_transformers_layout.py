"""CLIP weights in the layout of the library transformers give the very features of open_clip's."""

import json
import re

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from semivl_cli.errors import InputError
from semivl_cli.model.clip import build_encoder, load_clip

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 8, "patch_size": 4, "width": 12, "head_width": 4, "layers": 2},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    model = open_clip.CLIP(**CONFIG)
    torch.nn.init.normal_(model.visual.proj)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def as_transformers(state):
    """Write open_clip's tensors as CLIPModel.save_pretrained does, spelling and all."""
    theirs = {"logit_scale": state["logit_scale"]}
    for tower, prefix in (("text_model", ""), ("vision_model", "visual.")):
        embeddings, encoder = f"{tower}.embeddings", f"{tower}.encoder.layers"
        theirs[f"{embeddings}.position_embedding.weight"] = state[f"{prefix}positional_embedding"]
        theirs[f"{embeddings}.position_ids"] = torch.arange(len(state[f"{prefix}positional_embedding"]))[None]
        for name, tensor in state.items():
            if not (block := re.fullmatch(rf"{re.escape(prefix)}transformer\.resblocks\.(\d+)\.(.*)", name)):
                continue
            number, part = block.groups()
            if "in_proj" in part:
                for letter, piece in zip("qkv", tensor.chunk(3), strict=True):
                    theirs[f"{encoder}.{number}.self_attn.{letter}_proj.{part.rpartition('_')[2]}"] = piece.clone()
                continue
            for ours, their_part in (
                ("ln_1.", "layer_norm1."),
                ("ln_2.", "layer_norm2."),
                ("attn.", "self_attn."),
                ("mlp.c_fc.", "mlp.fc1."),
                ("mlp.c_proj.", "mlp.fc2."),
            ):
                part = part.replace(ours, their_part)
            theirs[f"{encoder}.{number}.{part}"] = tensor
    theirs["text_model.embeddings.token_embedding.weight"] = state["token_embedding.weight"]
    theirs["vision_model.embeddings.class_embedding"] = state["visual.class_embedding"]
    theirs["vision_model.embeddings.patch_embedding.weight"] = state["visual.conv1.weight"]
    for kind in ("weight", "bias"):
        theirs[f"vision_model.pre_layrnorm.{kind}"] = state[f"visual.ln_pre.{kind}"]
        theirs[f"vision_model.post_layernorm.{kind}"] = state[f"visual.ln_post.{kind}"]
        theirs[f"text_model.final_layer_norm.{kind}"] = state[f"ln_final.{kind}"]
    theirs["text_projection.weight"] = state["text_projection"].T.contiguous()
    theirs["visual_projection.weight"] = state["visual.proj"].T.contiguous()
    return theirs


def keep(path, tensors):
    if path.suffix == ".safetensors":
        save_file(tensors, path, {"format": "pt"})
    else:
        torch.save(tensors, path)
    return str(path)


def features(clip):
    torch.manual_seed(1)
    image = torch.randn(1, 3, 12, 8)
    return build_encoder(clip, clip.spec)(image).dense, clip.text.embed(["a photo of a cat", "a dog"])


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("prefix", ["", "model.", "_orig_mod.", "module._orig_mod."])
def test_every_feature_is_the_same_whatever_was_put_before_the_names(tmp_path, state, name, prefix):
    theirs = {prefix + key: tensor for key, tensor in as_transformers(state).items()}
    clip = load_clip(CONFIG, keep(tmp_path / name, theirs))
    ours = load_clip({**CONFIG, "quick_gelu": True}, keep(tmp_path / "ours.bin", state))
    assert clip.spec == ours.spec and clip.spec.activation == "quick_gelu"
    for a, b in zip(features(clip), features(ours), strict=True):
        assert torch.equal(a, b)
    assert clip.logit_scale == ours.logit_scale


@pytest.mark.parametrize(
    ("config", "activation"),
    [
        (
            {"model_type": "clip", "vision_config": {"hidden_act": "gelu"}, "text_config": {"hidden_act": "gelu"}},
            "gelu",
        ),
        ({"model_type": "clip", "vision_config": {"dropout": 0.0}}, "quick_gelu"),
        ({"model_type": "clip_vision_model", "hidden_act": "gelu"}, "gelu"),
        ({"model_type": "t5", "hidden_act": "gelu"}, "quick_gelu"),
    ],
)
def test_the_activation_is_what_the_config_beside_says(tmp_path, state, config, activation):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_clip(CONFIG, keep(tmp_path / "a.bin", as_transformers(state))).spec.activation == activation


@pytest.mark.parametrize("text", ['{"model_type": "clip", "vision_config": {"hidden_act": "relu"}}', "{", "[]"])
def test_a_config_that_cannot_be_read_is_one_line(tmp_path, state, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json: ") as refused:
        load_clip(CONFIG, keep(tmp_path / "a.bin", as_transformers(state)))
    assert "\n" not in str(refused.value)


def test_an_image_tower_alone_has_the_features_and_no_words(tmp_path, state):
    theirs = {name: tensor for name, tensor in as_transformers(state).items() if name.startswith("vis")}
    clip = load_clip(CONFIG, keep(tmp_path / "a.safetensors", theirs))
    whole = load_clip(CONFIG, keep(tmp_path / "b.safetensors", as_transformers(state)))
    image = torch.randn(1, 3, 12, 8)
    assert torch.equal(*(build_encoder(one, one.spec)(image).dense for one in (clip, whole)))
    with pytest.raises(InputError, match="no text encoder"):
        clip.text.embed(["a cat"])


@pytest.mark.parametrize(
    ("lacking", "says"),
    [
        ("vision_model.encoder.layers.0.self_attn.q_proj.weight", r"lacks visual\.transformer.*in_proj_weight"),
        ("visual_projection.weight", r"lacks visual\.proj"),
    ],
)
def test_what_lacks_a_tensor_is_named_with_its_layout(tmp_path, state, lacking, says):
    theirs = as_transformers(state)
    del theirs[lacking]
    with pytest.raises(InputError, match=f"transformers' layout.*{says}"):
        load_clip(CONFIG, keep(tmp_path / "a.bin", theirs))


def test_weights_of_another_known_model_are_told_by_their_shapes(tmp_path):
    torch.manual_seed(0)
    other = open_clip.CLIP(**open_clip.get_model_config("ViT-S-32-alt")).state_dict()
    file = keep(tmp_path / "a.bin", as_transformers(other))
    with pytest.raises(InputError, match=r"their shapes are those of ViT-S-32-alt: name it"):
        load_clip("ViT-M-32-alt", file)
    assert load_clip("ViT-S-32-alt", file).spec.width == other["visual.class_embedding"].shape[0]


def test_parts_that_do_not_go_together_are_named(tmp_path, state):
    theirs = as_transformers(state)
    name = "vision_model.encoder.layers.0.self_attn.k_proj.bias"
    for wrong in (torch.tensor(1.0), torch.zeros(3), torch.zeros(12, 1)):
        with pytest.raises(InputError, match=r"lacks visual\.transformer\.resblocks\.0\.attn\.in_proj_bias"):
            load_clip(CONFIG, keep(tmp_path / "a.bin", {**theirs, name: wrong}))
