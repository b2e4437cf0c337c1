"""Several processes as a user starts them: the same training, one voice, one exit code, no hang."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from semivl_cli.cli import app
from semivl_cli.engine.train.accumulate import accumulate_gradients

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither gloo as torch ships it nor SIGINT"),
    pytest.mark.usefixtures("plain_reports"),
]
TINY = [
    *("--recipe", "tiny", "--device", "cpu", "--set", "training.log_steps=1", "--set", "training.batch=4"),
    *("--set", "data.crop=32", "--set", "evaluation.mode=whole", "--set", "evaluation.short_side=32"),
]


def start(folder: Path, *arguments: str, **launcher: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **launcher}
    command = [sys.executable, "-m", "semivl_cli", "train", *TINY, *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def losses(run: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "train"}


def test_two_processes_train_as_one_and_either_goes_on_where_the_other_stopped(tmp_path, monkeypatch, stray_modules):
    monkeypatch.chdir(tmp_path)
    steps = ["--set", "training.steps=4", "--set", "training.save_steps=2"]
    two = start(tmp_path, *steps, "--gpus", "2", "--out", "two", "--json", "--set", "data.workers=1")
    out, said = two.communicate(timeout=240)
    assert two.returncode == 0 and not stray_modules.exists(), said  # whatever lies where it was started
    assert json.loads(out)["run"] == "two"  # one voice
    one = CliRunner().invoke(app, ["train", *TINY, *steps, "--out", "one", "--json"])
    assert one.exit_code == 0, one.output
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    assert losses(tmp_path / "two")[1] == pytest.approx(losses(tmp_path / "one")[1], rel=1e-6)
    assert json.loads(out)["last"]["images"] == json.loads(one.stdout)["last"]["images"] == 120

    before = losses(tmp_path / "two")
    (tmp_path / "two" / "checkpoints" / "4").rename(tmp_path / "away")
    (tmp_path / "two" / "run.json").write_text('{"last": 2, "best": null, "finished": false}')
    resumed = CliRunner().invoke(app, ["train", "--resume", "--out", "two"])
    assert resumed.exit_code == 0, resumed.output
    assert losses(tmp_path / "two") == pytest.approx(before, rel=1e-4)


def test_ctrl_c_stops_all_after_the_same_step(tmp_path):
    process = start(tmp_path, "--gpus", "2", "--seeds", "2", "--out", "seeds", "--set", "training.steps=100000")
    run = tmp_path / "seeds" / "seed-0"
    metrics = run / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not (metrics.is_file() and metrics.read_text().count("\n") >= 2) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert said.count("stopped with seed 0; go on with: semivl train --resume --out seeds") == 1
    assert "Traceback" not in said
    status = json.loads((run / "run.json").read_text())
    assert (run / "checkpoints" / str(status["last"]) / "done.json").is_file()
    assert not (tmp_path / "seeds" / "seed-1").exists()


def test_a_mistake_that_one_process_meets_is_said_once_and_ends_all(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for i in range(10):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / "data" / "images" / f"{i}.png")
        if i < 5:
            Image.fromarray(np.full((40, 40), i % 2, np.uint8)).save(tmp_path / "data" / "masks" / f"{i}.png")
    (tmp_path / "data" / "images" / "7.png").write_bytes(b"no picture")
    (tmp_path / "two.toml").write_text(
        'title = "Two"\n[[class]]\nname = "a"\ncolor = "#000000"\n[[class]]\nname = "b"\ncolor = "#ff0000"\n'
    )
    folder = ["--dataset", "folder", "--root", "data", "--definition", "two.toml", "--out", "run"]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    slurm = {"SLURM_NTASKS": "2", "SLURM_NODELIST": "localhost", "MASTER_PORT": port}
    tasks = [
        start(tmp_path, *folder, "--set", "training.steps=50", SLURM_PROCID=rank, SLURM_LOCALID=rank, **slurm)
        for rank in ("0", "1")
    ]
    said = "".join(task.communicate(timeout=240)[1] for task in tasks)
    assert [task.returncode for task in tasks] == [2, 2], said
    assert len(re.findall(r"^semivl: .*7\.png", said, re.MULTILINE)) == 1, said
    assert said.count("semivl: ") == 1 and "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--gpus", "2", "--device", "auto"], "--device cpu"),
        (["--gpus", "2", "--device", "cuda:1"], "leave one out"),
        (["--gpus", "2", "--resume", "--out", "nowhere"], "no run to resume"),
    ],
)
def test_what_cannot_be_started_is_said_before_it_is(tmp_path, monkeypatch, arguments, hint):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    refused = CliRunner().invoke(app, ["train", *arguments])
    assert refused.exit_code == 2, refused.output
    assert hint in refused.stderr.splitlines()[-1]


def test_fit_finds_the_largest_micro_batch_and_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    steps = ["--set", "training.steps=2", "--set", "training.checkpoint_activations=false"]
    fitted = CliRunner().invoke(app, ["train", *TINY, *steps, "--fit", "--out", "fitted"])
    assert fitted.exit_code == 0, fitted.output
    assert re.search(r"fits: 4 images at once take [\d.]+ of [\d.]+ GiB", fitted.stderr)
    whole = CliRunner().invoke(app, ["train", *TINY, *steps, "--out", "whole"])
    assert whole.exit_code == 0, whole.output
    assert losses(tmp_path / "fitted") == losses(tmp_path / "whole")
    monkeypatch.setattr("semivl_cli.engine.device_memory.LinuxMeter.limit", lambda _: 2**20)
    refused = CliRunner().invoke(app, ["train", *TINY, *steps, "--fit", "--out", "short"])
    assert refused.exit_code == 3, refused.output
    assert "even 2 image(s) at once do not fit" in refused.stderr
    assert "checkpoint_activations=true (to 18 %" in refused.stderr


def test_where_no_smaller_part_is_left_activations_are_computed_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def short_of_memory(*arguments):
        if not arguments[0].encoder.checkpointing:
            raise torch.OutOfMemoryError("out of memory")
        return accumulate_gradients(*arguments)

    steps = ["--set", "training.steps=2", "--set", "training.micro_batch=2"]
    assert CliRunner().invoke(app, ["train", *TINY, *steps, "--out", "kept"]).exit_code == 0
    monkeypatch.setattr("semivl_cli.engine.train.loop.accumulate_gradients", short_of_memory)
    twice = CliRunner().invoke(app, ["train", *TINY, *steps, "--out", "twice"])
    assert twice.exit_code == 0, twice.output
    assert "activations are computed twice from here on" in twice.stderr
    assert losses(tmp_path / "twice") == losses(tmp_path / "kept")
    never = ["--set", "training.checkpoint_activations=false"]
    refused = CliRunner().invoke(app, ["train", *TINY, *steps, *never, "--out", "never"])
    assert refused.exit_code == 3
    assert "checkpoint_activations=true (to 18 %" in refused.stderr.splitlines()[-1]


def test_a_process_that_waits_for_others_says_so_and_obeys_signals(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    code = (
        "import semivl_cli.engine.distributed.join as join\njoin.PATIENCE = 0.1\n"
        "import sys\nsys.argv[1:] = ['train', '--device', 'cpu']\nfrom semivl_cli.cli import main\nmain()"
    )
    environment = {**os.environ, "RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    waiting = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE
    )
    assert waiting.stderr.readline() == "process 0 of 2 waits for the others to start\n"
    waiting.send_signal(signal.SIGTERM)
    assert waiting.communicate(timeout=30)[1] == "semivl: stopped\n"
    assert waiting.returncode == 143
