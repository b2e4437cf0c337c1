"""A user's week in small: look, score words, train, be killed, go on, evaluate, predict, mend a mask, train again."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from semivl_cli.cli import app

pytestmark = pytest.mark.usefixtures("plain_reports")

CLIP = Path(__file__).parents[2] / "plugins" / "shapes" / "clip.safetensors"
COLORS = np.array([(0, 0, 0), (214, 39, 40)], np.uint8)
DEFINITION = """title = "Rounds"

[[class]]
name = "background"
color = "#000000"
concepts = ["grass", "sand", "water"]

[[class]]
name = "round"
color = "#d62728"
concepts = ["disc", "ring", "round"]
"""
SMALL = [
    *("--recipe", "tiny", "--set", "data.crop=32", "--set", "data.workers=0", "--set", "evaluation.short_side=36"),
    *("--set", "training.batch=2", "--set", "training.save_steps=2", "--set", "training.log_steps=1"),
]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Nine photographs, one of them with a name that is no UTF-8, and six masks of colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for folder in ("my/images", "my/masks", "new"):
        Path(folder).mkdir(parents=True)
    for number in range(9):
        name = os.fsdecode(b"f\xe9te") if number == 8 and sys.platform == "linux" else f"day-{number}"
        scene, mask = draw(number)
        Image.fromarray(scene).save(Path("my/images", f"{name}.jpg"), quality=95)
        if number < 6:
            Image.fromarray(COLORS[mask]).save(Path("my/masks", f"{name}.png"))
    Image.fromarray(draw(99)[0]).save("new/picture.png")
    Path("rounds.toml").write_text(DEFINITION)
    return tmp_path


def draw(seed):
    rng = np.random.default_rng(seed)
    scene = rng.integers(0, 90, (40, 48, 3), dtype=np.uint8)
    row, column = rng.integers((12, 12), (28, 36))
    inside = np.hypot(*(np.mgrid[:40, :48] - np.array([row, column])[:, None, None])) < 8
    scene[inside] += np.array([140, 20, 20], np.uint8)
    return scene, inside.astype(np.uint8)


def semivl(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def test_a_week(desk):
    data = ["--root", "my", "--definition", "rounds.toml"]

    # Monday: is it all there, are the words any good?
    semivl("concepts", "validate", "rounds.toml", "--strict")
    found = json.loads(semivl("prepare", "data", "folder", *data, "--json").stdout)
    assert found["problems"] == []
    assert found["splits"]["train"] == {"images": 8, "with_mask": 5}
    score = ["concepts", "score", "rounds.toml", "--dataset", "folder", "--root", "my", "--weights", CLIP, "--json"]
    assert len(json.loads(semivl(*score).stdout)["findings"]["concepts"]) == 6

    # Tuesday: a training, which somebody kills in the night.
    train = ["train", "--dataset", "folder", *data, *SMALL, "--set", "training.steps=16"]
    kill_after_a_checkpoint([*train, "--out", "first"])

    # Wednesday: it goes on; meanwhile one looks at what there is.
    assert json.loads(semivl("eval", "first", "--json").stdout)[0]["step"] < 16
    resumed = semivl("train", "--resume", "--out", "first")
    assert "resuming first at step" in resumed.stderr
    assert "is finished: nothing is left to do" in semivl("train", "--resume", "--out", "first").stderr
    assert json.loads(Path("first/scores.json").read_text())["last"]["step"] == 16

    # Thursday: new pictures, and old ones.
    semivl("predict", "new", "my/images", "--out", "masks", "--run", "first")
    assert len(list(Path("masks").rglob("*.png"))) == 10

    # Friday: a mask was wrong. It is drawn anew, in place; nothing trains or is scored with the old one.
    wrong = Path("my/masks/day-2.png").absolute()
    Image.fromarray(COLORS[np.ones_like(draw(2)[1])]).save(wrong)
    os.utime(wrong, ns=(0, wrong.stat().st_mtime_ns + 10**9))
    refused = semivl(*train, "--out", "second", code=2).stderr.splitlines()[-1]
    assert f"{wrong} is not as it was when the dataset was prepared" in refused
    semivl(*shlex.split(refused.split("`")[1])[1:])
    noticed = semivl("train", "--recipe", "first/run.toml", "--set", "training.steps=2", "--out", "second")
    assert "not as it was for" in noticed.stderr
    assert "the masks of labelled images" in noticed.stderr
    assert not list(desk.rglob("*.part"))


def kill_after_a_checkpoint(words):
    """Start a command in a process of its own and kill it once the run has a checkpoint."""
    command = [sys.executable, "-m", "semivl_cli", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not list(Path(words[-1], "checkpoints").glob("[0-9]*/done.json")) and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
