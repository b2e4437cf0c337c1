"""Interrupted, full, damaged: whatever happens to a run, it goes on from its last good state, and says what it did."""

import errno
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors.numpy import load_file
from typer.testing import CliRunner

from semivl_cli import files as disk
from semivl_cli import load
from semivl_cli.cli import app
from semivl_cli.engine.assemble import Inherited, open_material
from semivl_cli.engine.rundir.checkpoint import damage
from semivl_cli.engine.rundir.layout import read_config
from semivl_cli.engine.rundir.metrics_log import Metrics
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import append_line, write_text

pytestmark = pytest.mark.usefixtures("plain_reports")
KILL = Path(__file__).parents[1] / "bench" / "bench_kill.py"

STREET = [
    *("--dataset", "folder", "--root", "street", "--definition", "street.toml", "--labels", "3", "--recipe", "tiny"),
    *("--set", "data.crop=32", "--set", "data.scale_range=[0.8,1.2]", "--set", "evaluation.short_side=36"),
    *("--set", "evaluation.stride=24", "--set", "training.steps=3", "--set", "training.batch=2"),
    *("--set", "training.save_steps=1", "--set", "data.workers=0"),
]


@pytest.fixture
def semivl(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of three steps with checkpoints 2 and 3, beside its dataset."""
    folder = tmp_path_factory.mktemp("finished")
    runpy.run_path(str(KILL))["write_street"](folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(app, ["train", *STREET, "--out", "run"])
    assert done.exit_code == 0, done.output
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it, in which the last save has just been made and nothing after it."""
    shutil.copytree(finished.parent, tmp_path, dirs_exist_ok=True)
    (tmp_path / "run" / "checkpoints" / "3" / "scores.json").unlink()
    for name in ("examples", "report.html", "examples.png", "run.json", "scores.json"):
        path = tmp_path / "run" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return tmp_path / "run"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")
def test_killed_trainings_end_in_the_same_weights_bit_for_bit():
    result = subprocess.run([sys.executable, KILL, "--kills", "3"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 wrong ends" in result.stdout


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1000])


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "harm", "wrong"),
    [
        ("model.safetensors", truncate, "model.safetensors does not hold the bytes"),
        ("model.safetensors", flip, "model.safetensors does not hold the bytes"),
        ("training.safetensors", zero, "training.safetensors does not hold the bytes"),
        ("training.safetensors", Path.unlink, "training.safetensors is missing"),
        ("state.json", flip, "state.json does not hold the bytes"),
        ("done.json", zero, "done.json is damaged"),
        ("done.json", Path.unlink, "done.json cannot be read"),
    ],
)
def test_every_damage_is_found(run, name, harm, wrong):
    harm(run / "checkpoints" / "3" / name)
    assert wrong in damage(run / "checkpoints" / "3")
    assert damage(run / "checkpoints" / "2") is None


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(semivl, run, finished):
    (run / "checkpoints" / "3" / "done.json").unlink()
    resumed = semivl("train", "--resume", "--out", "run")
    assert resumed.exit_code == 0, resumed.output
    [said] = [line for line in resumed.stderr.splitlines() if "damaged" in line]
    assert "checkpoint 3" in said and "done.json cannot be read" in said and "step 2" in said
    a, b = (load_file(folder / "checkpoints" / "3" / "model.safetensors") for folder in (finished, run))
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["2", "3"]  # the damaged one is gone by now


def test_damaged_weights_are_not_predicted_with_either(semivl, run):
    flip(run / "checkpoints" / "3" / "model.safetensors")
    result = semivl("eval", "run", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["step"] == 2
    assert "checkpoint 3 of run is damaged" in result.stderr
    assert load("run", "cpu").step == 2
    assert (run / "checkpoints" / "3").is_dir()  # reading a run changes nothing in it


def test_where_every_checkpoint_is_damaged_nothing_is_touched(semivl, run):
    for step in ("2", "3"):
        truncate(run / "checkpoints" / step / "model.safetensors")
    resumed = semivl("train", "--resume", "--out", "run")
    assert resumed.exit_code == 2
    assert "no checkpoint of run can be used" in resumed.stderr.splitlines()[-1]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["2", "3"]


def test_what_comes_after_the_last_step_is_made_up_for(semivl, run, finished):
    resumed = semivl("train", "--resume", "--out", "run")
    assert resumed.exit_code == 0, resumed.output
    for name in ("scores.json", "run.json"):
        assert json.loads((run / name).read_text()) == json.loads((finished / name).read_text())
    assert len(list((run / "examples").iterdir())) == 2
    assert (run / "report.html").is_file()
    kinds = [json.loads(line)["kind"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [kind for kind in kinds if kind != "alarm"] == ["train", "eval"]


def test_an_evaluation_that_runs_out_of_memory_is_one_line(semivl, run, monkeypatch):
    def short_of_memory(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("semivl_cli.engine.train.loop.measure_iou", short_of_memory)
    failed = semivl("train", "--resume", "--out", "run")
    assert failed.exit_code == 3, failed.output
    assert "step 3 is kept" in failed.stderr.splitlines()[-1] and "evaluation.short_side" in failed.stderr


def test_damaged_small_files_do_not_stop_a_run(semivl, run):
    for name in ("run.json", "scores.json", "checkpoints/3/scores.json"):
        (run / name).write_bytes(bytes(50))
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(bytes(100))
    resumed = semivl("train", "--resume", "--out", "run")
    assert resumed.exit_code == 0, resumed.output
    assert json.loads((run / "run.json").read_text())["finished"] is True


def test_a_run_can_move_to_other_places_and_devices_and_its_data_too(semivl, run, tmp_path, monkeypatch):
    settings = (run / "run.toml").read_text()
    (run / "run.toml").write_text(settings.replace('device = "auto"', 'device = "cuda:99"'))
    (tmp_path / "elsewhere").mkdir()
    run.rename(tmp_path / "elsewhere" / "moved")
    monkeypatch.chdir(tmp_path / "elsewhere")
    refused = semivl("train", "--resume", "--out", "moved", "--root", "../street", "--device", "cuda:99")
    assert refused.exit_code == 2 and "torch sees" in refused.stderr
    resumed = semivl("train", "--resume", "--out", "moved", "--root", "../street")
    assert resumed.exit_code == 0, resumed.output
    assert re.match(r"moved: folder on (the CPU|cuda)", resumed.stderr)


def test_two_processes_never_train_one_run(semivl, run):
    with FileLock(run / ".lock"):
        resumed = semivl("train", "--resume", "--out", "run")
    assert resumed.exit_code == 2
    assert "in use by another process" in resumed.stderr
    assert (run / "checkpoints" / "3").is_dir()


def test_a_new_run_that_loses_a_race_leaves_the_winner_alone(semivl, run, tmp_path):
    run.rename(tmp_path / "other")
    run.mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        lost = semivl("train", *STREET, "--out", "run")
    assert lost.exit_code == 2
    assert (tmp_path / "run").is_dir()


def test_a_start_that_was_killed_can_be_started_again(semivl, run, tmp_path):
    shutil.rmtree(run)
    run.mkdir()
    for name in (".lock", "definition.toml", "split.json", ".run.toml.part"):
        (tmp_path / "run" / name).write_text("half")
    refused = semivl("train", "--resume", "--out", "run")
    assert refused.exit_code == 2
    assert "start it without --resume" in refused.stderr.splitlines()[-1]
    started = semivl("train", *STREET, "--set", "training.steps=1", "--out", "run")
    assert started.exit_code == 0, started.output


def test_a_full_disk_leaves_whole_files(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "before")
    append_line(tmp_path / "b.txt", "one")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*a\.txt \(No space left on device\)"):
        write_text(tmp_path / "a.txt", "after")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.txt", "b.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_lines_on_a_full_disk_are_one_clear_line():
    with pytest.raises(RunError, match="No space left on device"):
        append_line(Path("/dev/full"), "line")


def test_metrics_beyond_the_state_are_dropped(tmp_path):
    metrics = Metrics(tmp_path, 0)
    metrics.alarm(0, "before the first step", "train")
    for step, kind in ((1, "train"), (2, "train"), (2, "eval")):
        metrics.write(step, kind, {})
    metrics.alarm(2, "in the evaluation", "eval")
    metrics.write(3, "train", {})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "ki')

    def kept():
        lines = (json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())
        return [(line["step"], line["kind"]) for line in lines]

    Metrics(tmp_path, 2, evaluated=True).alarm(2, "at the end", "end")
    assert kept() == [(0, "alarm"), (1, "train"), (2, "train"), (2, "eval"), (2, "alarm"), (2, "alarm")]
    Metrics(tmp_path, 2, evaluated=True)
    assert kept() == [(0, "alarm"), (1, "train"), (2, "train"), (2, "eval"), (2, "alarm")]
    Metrics(tmp_path, 2)
    assert kept() == [(0, "alarm"), (1, "train"), (2, "train")]


def test_resume_refuses_what_changes_the_numbers(semivl, run):
    refused = semivl("train", "--resume", "--out", "run", "--set", "training.steps=2")
    assert refused.exit_code == 2
    assert "training.steps = 3, not 2" in refused.stderr


def test_a_finished_run_becomes_longer(semivl, finished, tmp_path):
    shutil.copytree(finished.parent, tmp_path, dirs_exist_ok=True)
    again = ("train", "--resume", "--out", "run")
    same = semivl(*again, "--set", "training.steps=3")
    assert same.exit_code == 0 and "is finished: nothing is left to do" in same.stderr
    shorter = semivl(*again, "--set", "training.steps=2")
    assert shorter.exit_code == 2 and "training.steps = 3, not 2" in shorter.stderr and "may grow" in shorter.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["finished"] is True
    longer = semivl(*again, "--set", "training.steps=6")
    assert longer.exit_code == 0, longer.output
    assert "3 steps become 6: from step 3 on" in longer.stderr and "it was 37 %" in longer.stderr
    assert read_config(tmp_path / "run").training.steps == 6
    status = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (status["last"], status["finished"], status["steps"]) == (6, True, 6)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "eval"] == [3, 6]  # the old end with its scores
    assert semivl(*again).exit_code == 0


def test_masks_that_were_edited_under_a_run_are_told_when_it_goes_on(semivl, run, tmp_path):
    [labeled, *_] = json.loads((run / "split.json").read_text())["labeled"]
    path = tmp_path / "street" / "masks" / f"{labeled}.png"
    with Image.open(path) as picture:
        mask = np.ones_like(picture)
    before = path.stat()
    Image.fromarray(mask).save(path)
    path.write_bytes(path.read_bytes().ljust(before.st_size, b"\0"))
    assert path.stat().st_size == before.st_size
    resumed = semivl("train", "--resume", "--out", "run", "--root", "street")
    assert resumed.exit_code == 0, resumed.output
    said = Path("run", "run.toml")
    assert f"not as it was for {said}: the masks of labelled images; the numbers may differ" in resumed.stderr


def test_images_that_were_added_change_no_number_of_a_run(semivl, run, finished, tmp_path):
    images = sorted((tmp_path / "street" / "images").iterdir())
    for number in range(5):  # before all others by name
        (tmp_path / "street" / "images" / f"0-{number}{images[0].suffix}").write_bytes(images[number].read_bytes())
    shutil.rmtree(run / "checkpoints" / "3")
    resumed = semivl("train", "--resume", "--out", "run", "--root", "street")
    assert resumed.exit_code == 0, resumed.output
    assert "5 images have come since the run began" in resumed.stderr
    for name in ("model.safetensors", "training.safetensors"):
        one, two = (load_file(folder / "checkpoints" / "3" / name) for folder in (run, finished))
        assert one.keys() == two.keys() and all(np.array_equal(one[key], two[key]) for key in one)


def test_ids_that_a_run_kept_must_still_be_there(semivl, run):
    split = json.loads((run / "split.json").read_text())
    (run / "split.json").write_text(json.dumps({**split, "labeled": ["nowhere"]}))
    with pytest.raises(InputError, match="nowhere"):
        open_material(read_config(run), Inherited(run=run))
