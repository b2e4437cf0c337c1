"""Several seeds, and the same run again: what is repeated is repeated exactly, and what differs is said."""

import json
import runpy
import signal
import statistics
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from semivl_cli.cli import app
from semivl_cli.engine import seeds as seeds_module
from semivl_cli.engine.environment import differences
from semivl_cli.engine.seeds import spread
from semivl_cli.engine.train.start import device_of
from semivl_cli.errors import RunError
from semivl_cli.settings_toml import read_settings

pytestmark = pytest.mark.usefixtures("plain_reports")
KILL = Path(__file__).parents[1] / "bench" / "bench_kill.py"
STREET = [
    *("--dataset", "folder", "--root", "street", "--definition", "street.toml", "--recipe", "tiny", "--labels", "3"),
    *("--set", "data.crop=32", "--set", "data.scale_range=[0.8,1.2]", "--set", "evaluation.short_side=36"),
    *("--set", "evaluation.stride=24", "--set", "training.steps=2", "--set", "training.batch=2"),
    *("--set", "data.workers=0"),
]


@pytest.fixture
def semivl(tmp_path, monkeypatch):
    """Run a command line beside a small street."""
    runpy.run_path(str(KILL))["write_street"](tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def weights(run):
    tensors = load_file(run / "checkpoints" / "2" / "model.safetensors")
    return {name: tensor.tobytes() for name, tensor in tensors.items()}


def test_seeds_are_repeated_and_summed_up(semivl, tmp_path):
    trained = semivl("train", *STREET, "--seed", "4", "--seeds", "2", "--out", "many", "--json")
    assert trained.exit_code == 0, trained.output
    shown = json.loads(trained.stdout)
    assert shown["seeds"] == [4, 5] and [run["run"] for run in shown["runs"]] == ["seed-4", "seed-5"]
    mious = [run["miou"] for run in shown["runs"]]
    assert shown["miou"]["mean"] == pytest.approx(statistics.mean(mious))
    assert shown["miou"]["deviation"] == pytest.approx(statistics.stdev(mious))
    files = (tmp_path / "many" / f"seed-{seed}" / "scores.json" for seed in (4, 5))
    roads = [json.loads(file.read_text())["result"]["iou"]["road"] for file in files]
    assert shown["iou"]["road"]["mean"] == pytest.approx(statistics.mean(roads))
    kept = json.loads((tmp_path / "many" / "seeds.json").read_text())
    assert kept["miou"] == shown["miou"]
    assert (tmp_path / "many" / "seed-5" / "report.html").is_file()

    # A seed is an ordinary run: alone it ends in the same weights.
    alone = semivl("train", *STREET, "--seed", "5", "--out", "alone")
    assert alone.exit_code == 0, alone.output
    assert weights(tmp_path / "alone") == weights(tmp_path / "many" / "seed-5")
    again = semivl("train", "--resume", "--out", "many")
    assert again.exit_code == 0, again.output
    assert "IoU in % over 2 seeds" in again.stdout
    single = semivl("train", "--resume", "--seeds", "2", "--out", "alone")
    assert single.exit_code == 2
    assert "alone is not what --seeds began" in single.stderr


def test_seeds_go_on_where_they_were_stopped_with_the_words_of_their_start(semivl, tmp_path, monkeypatch):
    # The signal comes when the first training has nothing left to stop.
    with monkeypatch.context() as patch:
        patch.setattr("semivl_cli.engine.train.loop.write_examples", lambda *_: signal.raise_signal(signal.SIGTERM))
        first = semivl("train", *STREET, "--seeds", "2", "--out", "runs/many")
    assert first.exit_code == 143
    said = first.stderr.splitlines()[-1]
    assert "stopped after seed 0" in said and "--resume --out runs/many" in said
    (tmp_path / "street.toml").write_text("the guideline is being edited")
    assert semivl("train", "--resume", "--out", "runs/many", "--seeds", "3").exit_code == 2
    assert device_of({}, (), None, resume=True) == "auto"
    resumed = semivl("train", "--resume", "--set", "training.micro_batch=2", "--json")
    assert resumed.exit_code == 0, resumed.output
    assert [run["seed"] for run in json.loads(resumed.stdout)["runs"]] == [0, 1]
    taken = semivl("train", *STREET, "--seeds", "2", "--out", "runs/many")
    assert taken.exit_code == 2


def test_one_failed_seed_costs_no_other(semivl, tmp_path, monkeypatch):
    train = seeds_module.run_training

    def failing(config, run, reporter, **others):
        if config.seed == 0:
            raise RunError("the loss is nan")
        return train(config, run, reporter, **others)

    monkeypatch.setattr(seeds_module, "run_training", failing)
    failed = semivl("train", *STREET, "--seeds", "2", "--out", "many")
    assert failed.exit_code == 3
    assert "1 of 2 trainings failed, seed 0: the loss is nan" in failed.stderr.splitlines()[-1]
    kept = json.loads((tmp_path / "many" / "seeds.json").read_text())
    assert [run["seed"] for run in kept["runs"]] == [1] and kept["failed"][0]["seed"] == 0
    assert kept["miou"]["deviation"] is None


def test_mean_and_deviation():
    assert spread([0.2, 0.4]) == {"mean": pytest.approx(0.3), "deviation": pytest.approx(np.std([0.2, 0.4], ddof=1))}
    assert spread([0.2]) == {"mean": 0.2, "deviation": None}
    assert spread([None, 0.2, None]) == spread([0.2])
    assert spread([]) == {"mean": None, "deviation": None}


def test_a_run_can_be_done_again_from_its_own_files(semivl, tmp_path):
    (tmp_path / "ids.txt").write_text("3\n5\n7\n")
    first = semivl("train", *STREET, "--labels", "ids.txt", "--deterministic", "--out", "first")
    assert first.exit_code == 0, first.output
    (tmp_path / "ids.txt").unlink()
    (tmp_path / "street.toml").unlink()
    second = semivl("train", "--recipe", "first/run.toml", "--out", "second")
    assert second.exit_code == 0, second.output
    assert "not as it was" not in second.stderr
    assert weights(tmp_path / "first") == weights(tmp_path / "second")
    splits = [json.loads((tmp_path / run / "split.json").read_text()) for run in ("first", "second")]
    assert splits[0] == splits[1]
    (a, here), (b, there) = (read_settings(tmp_path / run / "run.toml") for run in ("first", "second"))
    assert {**a, "recipe": ""} == {**b, "recipe": ""} and here == there
    assert {"torch", "python", "numpy", "threads", "device", "weights", "split", "files"} <= here.keys()

    # What is not as it was is named.
    text = (tmp_path / "first" / "run.toml").read_text().replace('python = "', 'python = "2.')
    (tmp_path / "first" / "run.toml").write_text(text)
    third = semivl("train", "--recipe", "first/run.toml", "--seed", "1", "--labels", "2", "--out", "third")
    assert third.exit_code == 0, third.output
    [line] = [line for line in third.stderr.splitlines() if "not as it was" in line]
    assert "python 3." in line and "(was 2.3." in line and "the images" in line
    assert len(json.loads((tmp_path / "third" / "split.json").read_text())["labeled"]) == 2


def test_differences_name_what_changed_and_nothing_else():
    before = {"torch": "1", "threads": 2, "weights": "a", "gone": "x"}
    assert differences(before, {"torch": "1", "threads": 4, "weights": "b", "new": 1}) == [
        "threads 4 (was 2)",
        "the CLIP weights",
    ]
