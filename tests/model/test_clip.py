"""Loading a CLIP: every kind of file, every mistake in one line."""

import hashlib
import json
import pickle
import random

import open_clip
import pytest
import torch
from safetensors.torch import save as save_bytes
from safetensors.torch import save_file

from semivl_cli.errors import InputError
from semivl_cli.model.clip import FROM_WEIGHTS, _openai_hashes, build_encoder, keep_weights, load_clip, weights_id
from semivl_cli.model.published_names import published_name

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 8, "patch_size": 4, "width": 8, "head_width": 4, "layers": 1},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}


@pytest.fixture(autouse=True)
def no_weights_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMIVL_WEIGHTS", str(tmp_path / "kept"))


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


def test_an_unknown_model_is_answered_with_the_nearest_names():
    assert "ViT-B-16" in mistake("ViT-B16", "random")


def test_an_unknown_tag_is_answered_with_the_known_ones():
    message = mistake("ViT-B-16", "openia")
    assert "'openia'" in message and "openai" in message and "laion2b_s34b_b88k" in message


def test_a_configured_clip_has_no_tags():
    assert "no tags" in mistake(CONFIG, "openai")


def test_an_absent_file_is_named(tmp_path):
    assert str(tmp_path / "no.safetensors") in mistake(CONFIG, tmp_path / "no.safetensors")


def test_weights_of_another_model_are_refused_with_the_first_that_does_not_fit(tmp_path, state):
    lacking = {name: tensor for name, tensor in state.items() if name != "visual.proj"}
    assert "lacks visual.proj" in mistake(CONFIG, save(tmp_path / "a.bin", lacking))
    assert "unknown visual.surprise" in mistake(
        CONFIG, save(tmp_path / "b.bin", {**state, "visual.surprise": torch.zeros(1)})
    )
    misshapen = {**state, "visual.proj": torch.zeros(8, 9)}
    message = mistake(CONFIG, save(tmp_path / "c.safetensors", misshapen))
    assert "misshapen visual.proj ((8, 9), expected (8, 8))" in message


def test_a_file_that_is_no_weights_is_refused(tmp_path):
    for name, content in (("a.safetensors", b"\x10\x00"), ("b.bin", b"no pickle"), ("c.pt", b"")):
        (tmp_path / name).write_bytes(content)
        assert f"cannot read weights {tmp_path / name}" in mistake(CONFIG, tmp_path / name)
    torch.save({"state_dict": {"step": 3}}, tmp_path / "d.bin")
    assert "expected a state dict of tensors" in mistake(CONFIG, tmp_path / "d.bin")


@pytest.mark.filterwarnings("ignore")  # torch remarks on old pickles
@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_a_damaged_file_is_a_users_mistake(tmp_path, suffix):
    whole = pickle.dumps({"a": [1.5, (2,)], "b": "words"}, protocol=2) if suffix == ".bin" else None
    whole = whole or save_bytes({"a": torch.zeros(4)})
    path, rng = tmp_path / f"damaged{suffix}", random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole[: rng.randrange(1, len(whole) + 1)])
        for _ in range(rng.randrange(4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        mistake(CONFIG, path)


class Evil:
    """Would leave a mark if it were unpickled."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth"])
@pytest.mark.parametrize("plain", [True, False])
def test_nothing_in_a_file_is_executed(tmp_path, suffix, plain):
    mark, path = tmp_path / "mark", tmp_path / f"evil{suffix}"
    if plain:
        path.write_bytes(pickle.dumps(Evil(mark), protocol=2))
    else:
        torch.save({"state_dict": Evil(mark)}, path)
    assert "cannot read weights" in mistake(CONFIG, path)
    assert not mark.exists()


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
    encoders = (build_encoder(c, activation="gelu", norm_eps=1e-6, image_size=8, skips=(0,)) for c in (clip, ours))
    expected, got = (encoder(image) for encoder in encoders)
    assert torch.equal(got.dense, expected.dense) and torch.equal(got.skips[0], expected.skips[0])
    with pytest.raises(InputError, match="no text encoder"):
        ours.text.embed(["a cat"])
    del converted[f"{prefix}ln0.bias"]
    with pytest.raises(InputError, match=r"lacks pre_norm\.bias"):
        load_clip(CONFIG, save(tmp_path / "short.pth", converted))


def test_kept_weights_are_found_by_their_tag(tmp_path):
    torch.manual_seed(1)
    state = open_clip.CLIP(**open_clip.get_model_config("ViT-S-32-alt")).state_dict()
    given = save(tmp_path / "mine.safetensors", {name: tensor.contiguous() for name, tensor in state.items()})
    kept = keep_weights("ViT-S-32-alt", given)
    assert kept == tmp_path / "kept" / "ViT-S-32-alt" / "mine.safetensors"
    assert load_clip("ViT-S-32-alt", "mine").sha256 == load_clip("ViT-S-32-alt", given).sha256
    with pytest.raises(InputError, match=r"another\.bin"):
        keep_weights("ViT-S-32-alt", str(tmp_path / "another.bin"))
    with pytest.raises(InputError, match="do not fit"):
        keep_weights("ViT-M-32-alt", given)


def test_one_file_read_with_another_activation_is_another_clip(tmp_path):
    kept = tmp_path / "kept" / "ViT-B-16" / "dfn2b.safetensors"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weights")
    assert weights_id("ViT-B-16", "dfn2b") != weights_id("ViT-B-16", str(kept))


def test_offline_and_absent_says_what_to_download_and_where_to_put_it(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to the hub")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(InputError) as error:
        load_clip("ViT-B-16", "openai")
    said = str(error.value)
    assert "no route to the hub" in said and "vit_base_patch16_clip_224.openai" in said
    assert str(tmp_path / "kept" / "ViT-B-16" / "openai.safetensors") in said
    assert "\n" not in said


@pytest.mark.filterwarnings("ignore")  # torch remarks on TorchScript, which OpenAI's files are
def test_openais_own_file_is_taken_by_its_hash_alone(tmp_path, monkeypatch):
    config = {**CONFIG, "quick_gelu": True}
    torch.manual_seed(0)
    model = open_clip.CLIP(**config).eval()
    inputs = (torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, dtype=torch.int64))
    file = tmp_path / "ViT.pt"
    torch.jit.trace(model, inputs, check_trace=False).save(str(file))
    with pytest.raises(InputError, match="SHA-256"):
        load_clip(CONFIG, str(file))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr("semivl_cli.model.clip._openai_hashes", lambda: {sha256})
    clip = load_clip(CONFIG, str(file))
    assert clip.spec.activation == "quick_gelu"  # what OpenAI trained with, though the configuration does not say it
    encoder = build_encoder(clip, activation="checkpoint", norm_eps="checkpoint", image_size="checkpoint")
    image = torch.randn(2, 3, 8, 8)
    expected = model.encode_image(image, normalize=True)
    torch.testing.assert_close(encoder.embed_image(image), expected, rtol=1e-5, atol=1e-6)


def test_the_published_hashes_are_known():
    assert "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f" in _openai_hashes()  # ViT-B-16.pt
