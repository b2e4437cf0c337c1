"""A new run begins with the weights of another: with its settings and words, or with other data, words and length."""

import json
import runpy
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from semivl_cli.cli import app
from semivl_cli.engine.rundir.layout import read_config

pytestmark = pytest.mark.usefixtures("plain_reports")
STREET = [
    *("--dataset", "folder", "--root", "street", "--definition", "street.toml", "--labels", "3", "--recipe", "tiny"),
    *("--set", "data.crop=32", "--set", "evaluation.mode=whole", "--set", "evaluation.short_side=32"),
    *("--set", "training.steps=2", "--set", "training.batch=2", "--set", "data.workers=0"),
]
OTHER = (
    'title = "Other"\n[[class]]\nname = "van"\ncolor = "#000000"\n'
    '[[class]]\nname = "car"\ncolor = "#804080"\n[[class]]\nname = "road"\ncolor = "#000080"\n'
)
STILL = ("--set", "training.steps=1", "--set", "optimizer.lr=1e-12")


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Two finished runs beside their dataset: `run`, which reads words, and `fixed`, whose classes are fixed."""
    folder = tmp_path_factory.mktemp("begun")
    runpy.run_path(str(Path(__file__).parents[1] / "bench" / "bench_kill.py"))["write_street"](folder)
    (folder / "other.toml").write_text(OTHER)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for more in (
            ["--out", "run"],
            ["--out", "fixed", "--method", "supervised", "--set", "decoder.kind=convolutional"],
        ):
            done = CliRunner().invoke(app, ["train", *STREET, *more])
            assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def semivl(begun, tmp_path, monkeypatch):
    monkeypatch.chdir(begun)
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "new")])


def weights(run, step=1):
    [checkpoint] = [path for path in (run / "checkpoints").iterdir() if path.name == str(step)]
    return load_file(checkpoint / "model.safetensors")


def test_a_run_begins_with_the_weights_settings_and_words_of_another(semivl, begun, tmp_path):
    began = semivl("train", "--init", "run", *STILL)
    assert began.exit_code == 0, began.output
    assert "begins with the weights of" in began.stderr and "step 2 (best on val)\n" in began.stderr
    new, old = read_config(tmp_path / "new"), read_config(begun / "run")
    assert new.data == old.data and new.decoder == old.decoder and new.model.init == str(begun / "run")
    before, after = weights(begun / "run", 2), weights(tmp_path / "new")
    assert before.keys() == after.keys()
    assert all(np.allclose(before[name], after[name], atol=1e-6) for name in before)
    again = semivl("train", "--resume")
    assert again.exit_code == 0 and "is finished" in again.stderr


def test_other_words_and_another_crop_change_only_what_stands_for_them(semivl, begun, tmp_path):
    began = semivl("train", "--init", "run", "--definition", "other.toml", "--set", "data.crop=48", *STILL)
    assert began.exit_code == 0, began.output
    assert "not known there: van (their words are read)" in began.stderr
    before, after = weights(begun / "run", 2), weights(tmp_path / "new")
    changed = {name for name in before if before[name].shape != after[name].shape}
    assert changed == {"text", "encoder.position_embedding"}
    assert all(np.allclose(before[name], after[name], atol=1e-6) for name in before.keys() - changed)


def test_fixed_classes_are_carried_over_by_their_names(semivl, begun, tmp_path):
    began = semivl("train", "--init", "fixed", "--definition", "other.toml", *STILL)
    assert began.exit_code == 0, began.output
    assert "not known there: van (they begin fresh)" in began.stderr
    before, after = weights(begun / "fixed", 2), weights(tmp_path / "new")
    for name in ("decoder.head.weight", "decoder.head.bias"):  # road, car -> van, car, road
        assert np.allclose(after[name][[2, 1]], before[name], atol=1e-6) and len(after[name]) == 3


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (["--init", "run", "--set", "decoder.width=64"], "decoder.width: 32, not 64"),
        (["--init", "run", "--set", "decoder.kind=convolutional"], "decoder_kind: language, not convolutional"),
        (["--init", "run", "--seed", "7"], "the vectors of another CLIP"),  # random weights follow the seed
        (["--init", "street"], "expected the directory of a run"),
    ],
)
def test_what_cannot_be_begun_with_is_one_line_and_leaves_nothing(semivl, tmp_path, given, hint):
    refused = semivl("train", *given)
    assert refused.exit_code == 2 and hint in refused.stderr.splitlines()[-1]
    assert not (tmp_path / "new").exists()


def test_settings_of_the_model_alone_are_taken_where_a_recipe_or_dataset_is_named(semivl, begun):
    shown = semivl("train", "--init", "fixed", "--dataset", "shapes", "--print-config")
    assert shown.exit_code == 0, shown.output
    assert 'kind = "convolutional"' in shown.stdout and "steps = 800" in shown.stdout
    assert json.dumps(str(begun / "fixed")) in shown.stdout
    root = f"root = {json.dumps(str(begun / 'street'))}"
    assert root not in shown.stdout
    assert root in semivl("train", "--init", "fixed", "--recipe", "tiny", "--print-config").stdout  # the same images


def test_what_the_next_command_is_can_be_pasted_whatever_the_names(begun, tmp_path, monkeypatch):
    monkeypatch.chdir(begun)
    done = CliRunner().invoke(app, ["train", "--init", "run", *STILL, "--out", str(tmp_path / "my run")])
    *_, line = done.stdout.splitlines()
    assert shlex.split(line)[-1] == str(tmp_path / "my run")


@pytest.mark.parametrize("name", ["run", "fixed"])
def test_a_score_on_other_classes_is_refused(name, begun, monkeypatch):
    monkeypatch.chdir(begun)
    scored = CliRunner().invoke(app, ["eval", name, "--dataset", "shapes"])
    assert scored.exit_code == 2
    assert f"class 0 of dataset 'shapes' is 'background', of {name} 'road'" in scored.stderr


def test_a_score_on_images_that_have_trained_the_run_says_so(begun, tmp_path, monkeypatch):
    monkeypatch.chdir(begun)
    score = ["eval", "run", "--root", str(tmp_path / "street")]
    shutil.copytree("street", tmp_path / "street")
    assert "have trained this run" not in CliRunner().invoke(app, score).stderr
    (tmp_path / "street" / "val.txt").write_text("0\n1\n5\n")
    scored = CliRunner().invoke(app, score)
    assert scored.exit_code == 0
    assert "note: 1 of the 3 validation images have trained this run (split.json), such as '5'" in scored.stderr
    (tmp_path / "street" / "masks" / "0.png").unlink()
    scored = CliRunner().invoke(app, score)
    assert scored.exit_code == 2
    command = shlex.join(["semivl", "prepare", "data", "folder", "--root", str(tmp_path / "street")])
    assert f"`{command}` lists what is there\n" in scored.stderr  # eval has no --set
