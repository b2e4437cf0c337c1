"""A checkpoint in the published form becomes a run that predicts what the published code did."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from semivl_cli import load
from semivl_cli.cli import app

PARITY = Path(__file__).parent.parent / "parity" / "data"
CLASSES = "".join(f'[[class]]\nname = "thing {n}"\ncolor = "#0000{n}0"\n' for n in range(5))
SHAPE = [
    "data.crop=72",
    "evaluation.mode=whole",
    "evaluation.short_side=none",
    "model.skips=[0,2]",
    "model.clip={embed_dim=24,vision_cfg={image_size=72,layers=4,width=32,head_width=8,patch_size=8},"
    "text_cfg={context_length=77,vocab_size=49408,width=32,heads=2,layers=1}}",
    "decoder={width=32,text_width=16,up_widths=[32,16],skip_widths=[16,8],layers=2,heads=4}",
]


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """Write a published-form `.pth`, its text vectors and a definition; return the call that imports them."""
    monkeypatch.chdir(tmp_path)
    state = load_file(PARITY / "a.weights.safetensors")
    forward = load_file(PARITY / "a.forward.safetensors")
    np.save("text.npy", forward["text"].numpy())
    save_file({"text": forward["text"]}, "text.safetensors")
    Path("things.toml").write_text('title = "Things"\n' + CLASSES)
    assignments = [word for setting in SHAPE for word in ("--set", setting)]

    def run(tensors=state, *more, text="text.npy"):
        saved = {"model": {f"module.{name}": value for name, value in tensors.items()}, "epoch": 3, "optimizer": {}}
        torch.save(saved, "best.pth")
        where = ["--dataset", "folder", "--definition", "things.toml", "--out", "run", *assignments]
        texts = ["--text", text] if text else []
        return CliRunner().invoke(app, ["prepare", "checkpoint", "best.pth", *where, *texts, *more])

    run.state, run.forward = state, forward
    return run


@pytest.mark.parametrize("text", ["text.npy", "text.safetensors"])
def test_an_imported_checkpoint_predicts_what_the_published_code_did(checkpoint, text):
    imported = checkpoint(text=text)
    assert imported.exit_code == 0, imported.output
    assert "frozen CLIP" in imported.stderr
    image = checkpoint.forward["img_u8"][0].permute(1, 2, 0).numpy()
    expected = checkpoint.forward["logits"][0].argmax(0).numpy()
    assert (load("run").predict(image) != expected).mean() <= 0.001
    Image.fromarray(image).save("picture.png")
    predicted = CliRunner().invoke(app, ["predict", "picture.png", "--out", "masks", "--run", "run"])
    assert predicted.exit_code == 0, predicted.output
    with Image.open("masks/picture.png") as mask:
        assert (np.asarray(mask) != expected).mean() <= 0.001


def test_an_imported_run_goes_on_training(checkpoint):
    short = ["--set", "training.steps=2", "--set", "training.batch=2", "--set", "model.weights=random"]
    assert checkpoint(checkpoint.state, *short).exit_code == 0
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        Path("data", "folder", folder).mkdir(parents=True)
    for i in range(4):
        pixels = rng.integers(0, 256, (80, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"data/folder/images/{i}.png")
        if i < 3:
            Image.fromarray(pixels[..., 0] % 5).save(f"data/folder/masks/{i}.png")
    trained = CliRunner().invoke(app, ["train", "--resume", "--out", "run", "--json"])
    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["last"]["step"] == 2
    evaluated = CliRunner().invoke(app, ["eval", "run"])
    assert evaluated.exit_code == 0, evaluated.output


def _without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda state: _without(state, "decode_head.up1.up.bias"), "lacks the tensor decode_head.up1.up.bias"),
        (lambda state: {**state, "decode_head.extra": torch.zeros(1)}, "'decode_head.extra'"),
        (lambda state: {**state, "decode_head.layers.2.transformer.ln1.bias": torch.zeros(48)}, "unexpected"),
        (lambda state: {**state, "decode_head.head.bias": torch.zeros(2)}, "has shape (2,), expected (1,)"),
        (lambda state: {}, "expected a state dict of tensors"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(checkpoint, change, hint):
    refused = checkpoint(change(checkpoint.state))
    assert refused.exit_code == 2, refused.output
    assert hint in refused.stderr
    assert not Path("run", "run.toml").exists()


def test_without_text_vectors_and_without_clip_one_line_says_so(checkpoint):
    refused = checkpoint(checkpoint.state, "--set", "model.clip=ViT-B-16", text=None)
    assert refused.exit_code == 2
    assert len(refused.stderr.strip().splitlines()) == 1
    wrong = checkpoint(checkpoint.state, text="things.toml")
    assert wrong.exit_code == 2
    assert "things.toml" in wrong.stderr


def test_a_pickle_with_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Evil:
        def __reduce__(self):
            return (Path.touch, (Path("executed"),))

    torch.save({"model": Evil()}, "evil.pth")
    refused = CliRunner().invoke(app, ["prepare", "checkpoint", "evil.pth", "--dataset", "voc", "--out", "run"])
    assert refused.exit_code == 2, refused.output
    assert not Path("executed").exists()
