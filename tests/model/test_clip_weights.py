"""Finding and reading weights: by tag, from files, from nowhere; nothing in a file is executed."""

import hashlib
import pickle
import random

import open_clip
import pytest
import torch
from safetensors.torch import save

from semivl_cli.errors import InputError
from semivl_cli.model.clip import build_encoder, load_clip
from semivl_cli.model.clip_weights import _openai_hashes, is_file, weights_id

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 8, "patch_size": 4, "width": 8, "head_width": 4, "layers": 1},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}


@pytest.fixture(autouse=True)
def no_weights_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMIVL_WEIGHTS", str(tmp_path / "kept"))


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
    whole = whole or save({"a": torch.zeros(4)})
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


def test_one_file_read_with_another_activation_is_another_clip(tmp_path):
    kept = tmp_path / "kept" / "ViT-B-16" / "dfn2b.safetensors"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weights")
    assert weights_id("ViT-B-16", "dfn2b") != weights_id("ViT-B-16", str(kept))


def test_offline_and_absent_says_what_to_download_and_where_to_put_it(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to the hub")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    said = mistake("ViT-B-16", "openai")
    assert "no route to the hub" in said and "vit_base_patch16_clip_224.openai" in said
    assert str(tmp_path / "kept" / "ViT-B-16" / "openai.safetensors") in said


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
    monkeypatch.setattr("semivl_cli.model.clip_weights._openai_hashes", lambda: {sha256})
    clip = load_clip(CONFIG, str(file))
    assert clip.spec.activation == "quick_gelu"  # what OpenAI trained with, though the configuration does not say it
    encoder = build_encoder(clip, clip.spec)
    image = torch.randn(2, 3, 8, 8)
    expected = model.encode_image(image, normalize=True)
    torch.testing.assert_close(encoder.embed_image(image), expected, rtol=1e-5, atol=1e-6)


def test_the_published_hashes_are_known():
    assert "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f" in _openai_hashes()  # ViT-B-16.pt


def test_a_file_that_is_there_is_meant_whatever_its_suffix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.ckpt").write_bytes(b"x")
    (tmp_path / "openai").write_bytes(b"x")
    assert is_file("clip.ckpt")
    assert not is_file("other.ckpt")
    assert not is_file("openai")  # which is a tag
