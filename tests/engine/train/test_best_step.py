"""Which step a run stands for: the last, the best on val, or the best on labels that were held out."""

import json
import runpy
from pathlib import Path

import pytest
from typer.testing import CliRunner

from semivl_cli import load
from semivl_cli.cli import app
from semivl_cli.documents import parse_json
from semivl_cli.engine.infer.measure import Scores
from semivl_cli.engine.train.best_step import Selection
from semivl_cli.run_files import Scores as SavedScores

KILL = Path(__file__).parents[2] / "bench" / "bench_kill.py"
STREET = [
    *("--dataset", "folder", "--root", "street", "--definition", "street.toml", "--recipe", "tiny", "--labels", "all"),
    *("--set", "data.crop=32", "--set", "data.scale_range=[0.8,1.2]", "--set", "evaluation.short_side=36"),
    *("--set", "evaluation.stride=24", "--set", "training.steps=6", "--set", "training.batch=2"),
    *("--set", "data.workers=0", "--set", "training.evaluate_steps=1", "--set", "optimizer.lr=0.02"),
]


@pytest.fixture
def semivl(tmp_path, monkeypatch):
    """Run a command line beside a small street."""
    runpy.run_path(str(KILL))["write_street"](tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def scores(step, miou):
    return Scores(miou=miou, iou={"a": miou}, step=step, images=3)


@pytest.mark.parametrize(("rule", "step"), [("last", 3), ("best", 1), ("held-out", 1)])
def test_the_rule_picks_the_step_and_the_earlier_of_equals(rule, step):
    selection = Selection(rule)
    assert selection.step is None
    for number, miou in ((1, 0.5), (2, 0.5), (3, 0.4)):
        selection.add(scores(number, miou))
    again = Selection(rule, parse_json(json.dumps(selection.as_dict()), SavedScores, "scores.json"))
    assert again.step == selection.step == step
    assert again.as_dict() == selection.as_dict()


def test_what_was_chosen_on_val_is_marked_and_what_was_not_is_not():
    marks = {}
    for rule in ("last", "best", "held-out"):
        selection = Selection(rule)
        selection.add(scores(1, 0.5))
        if rule == "held-out":
            assert selection.result == {}
            selection.add_val(scores(1, 0.3))
        marks[rule] = (selection.result["on"], selection.result.get("selected_on"), selection.result["miou"])
    assert marks == {
        "last": ("val", None, 0.5),
        "best": ("val", "val", 0.5),
        "held-out": ("val", "held-out", 0.3),
    }


def test_held_out_labels_choose_the_step_and_val_is_looked_at_once(semivl, tmp_path):
    trained = semivl("train", *STREET, "--select", "held-out", "--out", "run", "--json")
    assert trained.exit_code == 0, trained.output
    assert "2 of 6 labelled images are held out" in trained.stderr
    shown = json.loads(trained.stdout)
    kept = json.loads((tmp_path / "run" / "scores.json").read_text())
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert len(split["held_out"]) == 2 and len(split["labeled"]) == 4 and split["unlabeled"]["count"] == 2
    assert not set(split["held_out"]) & {*split["labeled"], *split["val"]}
    assert kept["select"] == "held-out" and kept["last"]["on"] == "held-out"
    assert kept["best"]["images"] == 2 and kept["result"]["images"] == len(split["val"])
    assert kept["result"]["step"] == kept["best"]["step"] == shown["result"]["step"]
    assert shown["selected"] == "best on held-out labels"
    evaluated = semivl("eval", "run", "--json")
    assert evaluated.exit_code == 0, evaluated.output
    [again] = json.loads(evaluated.stdout)
    assert again["miou"] == pytest.approx(kept["result"]["miou"], abs=1e-12)
    assert again["selected"] == "best on held-out labels"
    page = (tmp_path / "run" / "report.html").read_text()
    assert "held-out" in page

    # Cut off in the last evaluation, it ends the same; its split stays its own.
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "run" / "checkpoints" / "6" / "scores.json").unlink()
    resumed = semivl("train", "--resume", "--out", "run")
    assert resumed.exit_code == 0, resumed.output
    assert json.loads((tmp_path / "run" / "scores.json").read_text()) == kept
    assert json.loads((tmp_path / "run" / "split.json").read_text()) == split


@pytest.mark.parametrize(("select", "selected"), [("last", "last"), ("best", "best on val")])
def test_eval_and_predict_take_the_step_that_was_selected(semivl, tmp_path, select, selected):
    trained = semivl("train", *STREET, "--select", select, "--out", "run", "--json")
    assert trained.exit_code == 0, trained.output
    shown = json.loads(trained.stdout)
    predictor = load("run", "cpu")
    assert (predictor.step, predictor.selected) == (shown["result"]["step"], selected)
    assert shown["result"]["step"] == (6 if select == "last" else shown["best"]["step"])


def test_too_few_labels_to_hold_out_are_one_line(semivl, tmp_path):
    refused = semivl("train", *STREET, "--labels", "1", "--select", "held-out", "--out", "run")
    assert refused.exit_code == 2
    assert "--select last" in refused.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()
