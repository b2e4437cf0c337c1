"""Nothing goes wrong silently, nothing is said twice, and a training that goes well hears nothing."""

import html
import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from typer.testing import CliRunner

from semivl_cli.cli import app
from semivl_cli.data.choose.index import LabelCounts
from semivl_cli.engine.infer.measure import Scores
from semivl_cli.engine.train.alarms import Alarms
from semivl_cli.engine.train.nonfinite import find_broken
from semivl_cli.settings_toml import resolve

pytestmark = pytest.mark.usefixtures("plain_reports")
KILL = Path(__file__).parents[2] / "bench" / "bench_kill.py"
STREET = [
    *("--dataset", "folder", "--root", "street", "--definition", "street.toml", "--labels", "all", "--recipe", "tiny"),
    *("--set", "data.crop=32", "--set", "data.scale_range=[0.8,1.2]", "--set", "evaluation.short_side=36"),
    *("--set", "evaluation.stride=24", "--set", "training.steps=4", "--set", "training.batch=2"),
    *("--set", "data.workers=0", "--out", "run"),
]
GUIDED = {"guidance": {"lambda_DC": [0.1, 0.0]}}


@pytest.fixture
def semivl(tmp_path, monkeypatch):
    """Run a command line beside a small street."""
    runpy.run_path(str(KILL))["write_street"](tmp_path)
    (tmp_path / "street" / "val.txt").write_text("0\n1\n2\n3\n4\n")  # as many as are worth a mean
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def scores(step, sky, sky_labeled=0.5):
    return Scores(
        miou=0.1,
        iou={},
        step=step,
        images=9,
        predicted={"sky": sky, "road": 1 - sky},
        pixels={"sky": round(100 * sky_labeled), "road": round(100 * (1 - sky_labeled))},
    )


def test_labels_that_lack_a_class_are_told_before_the_first_step():
    alarms = Alarms(resolve(GUIDED), 1000)
    counts = LabelCounts(labeled=(5, 0, 0), empty=("a", "b"), val=(1, 1, 0))
    empty, absent, unseen = alarms.begins(counts, ["sky", "road", "car"])
    assert "2 labelled masks hold no class" in empty and "a:" in empty
    assert "shows road, car: guidance alone" in absent
    assert "no validation pixel shows car" in unseen
    assert alarms.begins(counts, ["sky", "road", "car"]) == []
    fine = LabelCounts(labeled=(5, 1, 1), empty=(), val=None)
    assert Alarms(resolve(GUIDED), 1000).begins(fine, ["sky", "road", "car"]) == []


def test_pseudo_labels_that_nobody_accepts_are_told_once_and_late():
    alarms = Alarms(resolve(GUIDED), 1000)
    said = {step: alarms.logs(step, {"pseudo_labels": 0.0, "guidance_pixels": 0.5}) for step in range(10, 1001, 10)}
    told = [step for step, lines in said.items() if lines]
    assert told == [300]
    assert "consistency.tau = 0.95 since step 0" in said[300][0]
    again = Alarms(resolve(GUIDED), 1000, **json.loads(json.dumps(alarms.state_dict())))
    assert again.logs(1010, {"pseudo_labels": 0.0, "guidance_pixels": 0.5}) == []


@pytest.mark.parametrize(
    "settings", [{"consistency": {"weight": 0.0}}, {"consistency": {"mode": "pixelavg"}, "training": {"batch": 8}}]
)
def test_where_the_threshold_has_no_say_it_is_not_blamed(settings):
    alarms = Alarms(resolve(GUIDED, settings), 1000)
    assert not any(alarms.logs(step, {"pseudo_labels": 0.0, "guidance_pixels": 0.5}) for step in range(10, 1001, 10))


def test_guidance_that_labels_nothing_is_told():
    alarms = Alarms(resolve(GUIDED), 1000)
    said = [line for step in range(10, 1001, 10) for line in alarms.logs(step, {"pseudo_labels": 0.5})]
    assert len(said) == 1
    assert "guidance.zeta = 0.9" in said[0]
    unguided = Alarms(resolve({"guidance": {"lambda_DC": [0.0, 0.0]}}), 1000)
    assert not any(unguided.logs(step, {"pseudo_labels": 0.5}) for step in range(10, 1001, 10))


def test_a_pause_of_pseudo_labels_is_no_alarm():
    alarms = Alarms(resolve(GUIDED), 1000)
    for step in range(10, 1001, 10):
        share = 0.01 if step % 200 == 0 else 0.0
        assert alarms.logs(step, {"pseudo_labels": share, "guidance_pixels": 0.5}) == []


def test_one_class_everywhere_is_told_with_what_holds_it_there():
    alarms = Alarms(resolve(GUIDED), 1000)
    assert alarms.evaluates(scores(100, 1.0)) == []  # too early to tell
    assert alarms.evaluates(scores(400, 0.98)) == []
    assert alarms.evaluates(scores(400, 1.0, sky_labeled=0.95)) == []  # as the labels are
    [line] = alarms.evaluates(scores(400, 1.0))
    assert "100.0 % of all pixels are predicted as 'sky'" in line and "optimizer.lr" in line
    assert alarms.evaluates(scores(600, 1.0)) == []
    drifting = Alarms(resolve(GUIDED), 1000, accepted=0.99)
    assert "99 % of the pseudo-labels are accepted and repeat it" in drifting.evaluates(scores(400, 1.0))[0]


def test_an_evaluation_of_very_few_images_is_told_once():
    alarms, few = Alarms(resolve(GUIDED), 1000), scores(100, 0.5)
    assert alarms.evaluates(few) == []
    one = replace(few, images=1)
    [line] = alarms.evaluates(one)
    assert "one image is all that was scored" in line
    assert alarms.evaluates(one) == []


def test_a_training_that_goes_well_hears_nothing(semivl):
    trained = semivl("train", *STREET)
    assert trained.exit_code == 0, trained.output
    assert "note:" not in trained.stderr


def test_ignored_labels_are_told_once_with_their_images(semivl, tmp_path):
    for path in (tmp_path / "street" / "masks").iterdir():
        if int(path.stem) > 4:  # none of the validation images
            with Image.open(path) as mask:
                size = mask.size
            Image.new("L", size, 255).save(path)
    trained = semivl("train", *STREET)
    assert trained.exit_code == 0, trained.output
    said = [line for line in trained.stderr.splitlines() if line.startswith("note:")]
    assert len(said) == 4, said
    assert "3 labelled masks hold no class at all" in said[0]
    assert "no labelled pixel shows road, car: nothing can teach" in said[1]
    assert "step 0: no pixel of the labelled images has a class" in said[2] and "mostly ignored" in said[2]
    assert "in 4 of 4 steps" in said[3]

    # Whoever was not there finds the same in the run and in its report.
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [f"note: {line['says']}" for line in lines if line["kind"] == "alarm"] == said
    page = html.unescape((tmp_path / "run" / "report.html").read_text())
    assert all(line.removeprefix("note: ") in page for line in said)


def test_a_loss_that_is_not_finite_stops_before_anything_poisoned_is_kept(semivl, tmp_path):
    settings = ["--set", "optimizer.lr=1e18", "--set", "training.log_steps=100", "--set", "training.save_steps=1"]
    failed = semivl("train", *STREET, *settings)
    assert failed.exit_code == 3, failed.output
    last = failed.stderr.splitlines()[-1]
    assert "optimizer.lr" in last and "not-finite holds its batch" in last
    run = tmp_path / "run"
    for checkpoint in (run / "checkpoints").iterdir():
        weights = load_file(checkpoint / "model.safetensors").values()
        assert all(np.isfinite(value).all() for value in weights if value.dtype.kind == "f")
    told = json.loads((run / "not-finite" / "values.json").read_text())
    assert told["seed"] == 0 and len(told["labeled"]) == 2
    assert f"step {told['step']}:" in last
    batch = load_file(run / "not-finite" / "batch.safetensors")
    assert batch["labeled"].shape == (2, 3, 32, 32)
    with Image.open(run / "not-finite" / "labeled-0.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), batch["labeled"][0].transpose(1, 2, 0))
    assert (run / "not-finite" / "model.safetensors").is_file()
    kept = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert kept[-1]["kind"] == "alarm" and kept[-1]["says"] in last
    again = semivl("train", "--resume", "--out", "run")
    assert again.exit_code == 3
    assert again.stderr.splitlines()[-1] == last  # the very same step


def test_the_first_value_that_is_not_finite_names_its_step():
    values = [{"loss": 1.0, "L_s": 1.0}, {"loss": float("nan"), "L_s": float("inf")}, {"loss": float("nan")}]
    assert find_broken(values, 10, None) == (8, "loss is nan (L_s)")
    assert find_broken(values[:1], 10, torch.nn.Linear(2, 2)) is None
    poisoned = torch.nn.Linear(2, 2)
    with torch.no_grad():
        poisoned.bias[0] = float("inf")
    assert find_broken(values[:1], 10, poisoned) == (9, "weights hold values that are not finite")
