"""Loading a CLIP: from every kind of file the same, and every mistake in one line."""

import json
from dataclasses import replace

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from semivl_cli.documents import as_type
from semivl_cli.errors import InputError
from semivl_cli.model.clip import _Config, build_encoder, load_clip
from semivl_cli.model.clip_weights import FROM_WEIGHTS
from semivl_cli.model.published_parameters import published_name

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 8, "patch_size": 4, "width": 8, "head_width": 4, "layers": 1},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    state = open_clip.CLIP(**CONFIG).state_dict()
    return {name: tensor.clone() for name, tensor in state.items()}


def save(path, state) -> str:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".pt", ".pth"])
def test_every_kind_of_file_gives_the_same_clip(tmp_path, state, suffix):
    reference = load_clip(CONFIG, save(tmp_path / "reference.bin", state))
    clip = load_clip(CONFIG, save(tmp_path / f"clip{suffix}", state))
    assert clip.sha256 == reference.sha256
    assert torch.equal(clip.state["patch_embedding.weight"], state["visual.conv1.weight"])
    assert clip.logit_scale == pytest.approx(float(state["logit_scale"].exp()))
    words = clip.text.embed(["a photo of a cat", "a dog"])
    assert words.shape == (2, 8) and torch.equal(words, reference.text.embed(["a photo of a cat", "a dog"]))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("nested", [True, False])
def test_training_checkpoints_of_open_clip_are_understood(tmp_path, state, prefix, nested):
    renamed = {prefix + name: tensor for name, tensor in state.items()}
    path = save(tmp_path / "epoch_1.pt", {"epoch": 1, "state_dict": renamed} if nested else renamed)
    assert load_clip(CONFIG, path).sha256 == load_clip(CONFIG, save(tmp_path / "plain.bin", state)).sha256


def test_half_precision_weights_are_read_as_float32(tmp_path, state):
    halved = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    clip = load_clip(CONFIG, save(tmp_path / "half.bin", halved))
    assert {tensor.dtype for tensor in clip.state.values()} == {torch.float32}


def test_random_weights_are_a_function_of_the_seed_and_leave_the_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (load_clip(CONFIG, "random", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert one.sha256 == same.sha256 != other.sha256


def test_a_file_may_say_itself_what_it_holds(tmp_path, state):
    """As the demo's does: configuration, statistics, and the few words that it knows."""
    tokenizer = open_clip.SimpleTokenizer(context_length=8)
    known = sorted(set(tokenizer(["a red car"]).flatten().tolist()))
    small = {**state, "token_embedding.weight": state["token_embedding.weight"][known].clone()}
    config = {**CONFIG, "text_cfg": {**CONFIG["text_cfg"], "vocab_size": len(known)}}
    metadata = {"open_clip_config": config, "token_ids": known, "image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]}
    path = tmp_path / "small.safetensors"
    save_file(small, path, metadata={key: json.dumps(value) for key, value in metadata.items()})
    clip = load_clip(FROM_WEIGHTS, str(path))
    assert clip.statistics == ((0.1, 0.2, 0.3), (1, 1, 1))
    assert clip.text.embed(["a red car", "car"]).shape == (2, 8)
    with pytest.raises(InputError, match='"a blue car": the word "blue" is not in the vocabulary'):
        clip.text.embed(["a blue car"])


def mistake(model, weights) -> str:
    with pytest.raises(InputError) as caught:
        load_clip(model, str(weights))
    message = str(caught.value)
    assert message and "\n" not in message
    return message


def test_weights_of_another_model_are_refused_with_the_first_that_does_not_fit(tmp_path, state):
    lacking = {name: tensor for name, tensor in state.items() if name != "visual.proj"}
    assert "lacks visual.proj" in mistake(CONFIG, save(tmp_path / "a.bin", lacking))
    assert "unknown visual.surprise" in mistake(
        CONFIG, save(tmp_path / "b.bin", {**state, "visual.surprise": torch.zeros(1)})
    )
    misshapen = {**state, "visual.proj": torch.zeros(8, 9)}
    message = mistake(CONFIG, save(tmp_path / "c.safetensors", misshapen))
    assert "misshapen visual.proj ((8, 9), expected (8, 8))" in message


def test_from_weights_needs_a_file_that_says_what_it_holds(tmp_path, state):
    assert "open_clip_config" in mistake(FROM_WEIGHTS, save(tmp_path / "a.safetensors", state))


@pytest.mark.parametrize("config", [{"vision_cfg": {"layers": 1}}, {"embed_dim": 8, "text_cfg": {}, "surprise": 1}])
def test_a_configuration_that_open_clip_does_not_take_is_refused(config):
    assert "no open_clip configuration" in mistake(config, "random")


@pytest.mark.parametrize("model", ["RN50", "coca_ViT-B-32", "convnext_base"])
def test_towers_that_cannot_be_read_patch_by_patch_are_refused(model):
    assert "ViT-B-16" in mistake(model, "random")


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_weights_that_the_published_code_converted_give_the_same_dense_features(tmp_path, state, prefix):
    clip = load_clip(CONFIG, save(tmp_path / "clip.bin", state))
    converted = {}
    for name, tensor in clip.state.items():
        theirs = published_name(f"encoder.{name}").removeprefix("backbone.")
        shaped = {"cls_token": tensor[None, None], "pos_embed": tensor[None], "proj.weight": tensor[..., None, None]}
        converted[prefix + theirs] = shaped.get(theirs, tensor)
    ours = load_clip(CONFIG, save(tmp_path / "clip2mmseg.pth", {"state_dict": converted}))
    image = torch.randn(1, 3, 12, 8)
    expected, got = (build_encoder(c, replace(c.spec, activation="gelu"))(image) for c in (clip, ours))
    assert torch.equal(got.dense, expected.dense)
    with pytest.raises(InputError, match="no text encoder"):
        ours.text.embed(["a cat"])
    del converted[f"{prefix}ln0.bias"]
    with pytest.raises(InputError, match=r"lacks pre_norm\.bias"):
        load_clip(CONFIG, save(tmp_path / "short.pth", converted))


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("token_ids", [1, 2], "token_ids must name 49408 tokens"),
        ("token_ids", [1.5], "token_ids[0]: expected a whole number"),
        ("token_ids", "9" * 5000, "token_ids: expected a list"),
        ("image_mean", [0.5, 0.5], "image_mean: list should have at least 3 items"),
        ("image_mean", ["a", 0.5, 0.5], "image_mean[0]: expected a number, got 'a'"),
        ("image_std", [0, 1, 1], "image_std[0]: expected greater than 0"),
        ("image_std", [float("nan"), 1, 1], "image_std[0]: expected a finite number"),
        ("open_clip_config", [], "open_clip_config: expected"),
        ("open_clip_config", {**CONFIG, "embed_dim": 10**6}, "embed_dim: expected less than or equal to 65536"),
        ("open_clip_config", {**CONFIG, "vision_cfg": {"layers": 10**9}}, "vision_cfg.layers"),
        ("open_clip_config", {**CONFIG, "vision_cfg": {"width": 65536}}, "SEMIVL_MAX_PARAMETERS_MILLION"),
        ("open_clip_config", {**CONFIG, "vision_cfg": {"width": 4096}}, "the weights are 0 million"),
        ("open_clip_config", {**CONFIG, "text_cfg": {"hf_model_name": "x"}}, "hf_model_name would be fetched"),
        ("open_clip_config", {**CONFIG, "vision_cfg": {"timm_model_name": "x", "width": 8}}, "no plain CLIP ViT"),
        ("quick_gelu", "yes", "quick_gelu: expected a boolean, got 'yes'"),
    ],
)
def test_what_a_file_says_of_itself_is_checked_before_memory_is_taken(tmp_path, state, name, said, hint):
    metadata = {"open_clip_config": json.dumps(CONFIG), name: json.dumps(said)}
    save_file(state, tmp_path / "a.safetensors", metadata)
    assert hint in mistake(FROM_WEIGHTS, tmp_path / "a.safetensors")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000, "\0"])
def test_metadata_that_is_no_json_is_one_line(tmp_path, state, text):
    save_file(state, tmp_path / "a.safetensors", {"open_clip_config": json.dumps(CONFIG), "token_ids": text})
    assert "token_ids: not JSON" in mistake(FROM_WEIGHTS, tmp_path / "a.safetensors")


def test_random_weights_of_a_giant_are_refused(monkeypatch):
    giant = {**CONFIG, "vision_cfg": {**CONFIG["vision_cfg"], "width": 8192, "layers": 100}}
    assert "SEMIVL_MAX_PARAMETERS_MILLION" in mistake(giant, "random")


@pytest.mark.parametrize("name", ["ViT-B-16", "ViT-L-14", "ViT-S-32-alt", "ViT-bigG-14"])
def test_the_number_of_parameters_is_guessed_well(name):
    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        numbers = sum(tensor.numel() for tensor in open_clip.CLIP(**config).state_dict().values())
    assert as_type(config, _Config, name).parameters == pytest.approx(numbers, rel=0.01)
