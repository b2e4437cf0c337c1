"""Scores are shown in full for one run, and in a line each for several."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from semivl_cli.cli.score_tables import show_runs, show_seeds
from semivl_cli.engine.infer.measure import Scores
from semivl_cli.errors import RunError


def scored(name, miou=0.5):
    scores = Scores(step=9, miou=miou, iou={"cup": miou, "pan": miou}, images=4)
    return SimpleNamespace(run=Path(name), selected="last", scores=scores)


def test_one_run_is_shown_class_by_class(capsys):
    show_runs([scored("runs/a")], as_json=False)
    out = capsys.readouterr().out
    assert "runs/a, step 9 (last): IoU in % on 4 images" in out and "cup" in out and "50.00" in out


def test_of_several_runs_each_has_a_line(capsys):
    show_runs([scored("runs/a", 0.25), scored("runs/b", 0.75)], as_json=False)
    out = capsys.readouterr().out
    assert "cup" not in out and "25.00" in out and "75.00" in out


def test_machines_are_told_shares(capsys):
    show_runs([scored("runs/a")], as_json=True)
    (told,) = json.loads(capsys.readouterr().out)
    assert told["run"] == str(Path("runs/a")) and told["miou"] == 0.5 and told["iou"] == {"cup": 0.5, "pan": 0.5}


def half_absent(name):
    iou = {"cup": 0.5, "pan": None}
    scores = Scores(step=9, miou=0.25, miou_present=0.5, iou=iou, pixels={"cup": 7, "pan": 0}, images=4)
    return SimpleNamespace(run=Path(name), selected="last", scores=scores)


def test_a_class_that_the_labels_do_not_show_is_marked_and_both_means_stand_there(capsys):
    show_runs([half_absent("runs/a")], as_json=False)
    rows = [[cell.strip() for cell in line.split("│")] for line in capsys.readouterr().out.splitlines()]
    assert ["", "pan", "0", "-", ""] in rows and ["", "mean", "", "25.00", ""] in rows
    assert ["", "over the 1 labelled", "", "50.00", ""] in rows
    assert rows[-1] == ["-: no pixel is labelled so: the mean counts 0 there, as published numbers do"]
    show_runs([half_absent("runs/a"), scored("runs/b")], as_json=False)
    assert "50.00" in next(line for line in capsys.readouterr().out.splitlines() if "runs/a" in line)


def test_machines_find_null_for_a_class_that_the_labels_do_not_show(capsys):
    show_runs([half_absent("runs/a")], as_json=True)
    (told,) = json.loads(capsys.readouterr().out)
    assert told["iou"] == {"cup": 0.5, "pan": None} and told["pixels"] == {"cup": 7, "pan": 0}
    assert (told["miou"], told["miou_present"]) == (0.25, 0.5)


def test_several_seeds_leave_a_class_out_that_no_label_shows(capsys):
    known, nothing = {"mean": 0.5, "deviation": 0.1}, {"mean": None, "deviation": None}
    runs = [{"seed": seed, "miou": 0.25, "step": 9, "selected": "last"} for seed in (0, 1)]
    means = {"miou": {"mean": 0.25, "deviation": 0.05}, "miou_present": known}
    summary = {"seeds": [0, 1], "runs": runs, "iou": {"cup": known, "pan": nothing}, **means}
    show_seeds(SimpleNamespace(out=Path("runs/s"), failed={}, as_dict=lambda: summary), as_json=False)
    out = capsys.readouterr().out
    assert "over the labelled" in out and "no pixel is labelled so" in out


def test_a_training_that_failed_among_others_fails_the_command_once_all_is_shown(capsys):
    spread = {"mean": 0.5, "deviation": None}
    run = {"seed": 0, "miou": 0.5, "step": 9, "selected": "last"}
    summary = {"seeds": [0, 1], "runs": [run], "iou": {"cup": spread}, "miou": spread}
    repeated = SimpleNamespace(out=Path("runs/s"), failed={1: "loss is not finite"}, as_dict=lambda: summary)
    with pytest.raises(RunError, match="1 of 2 trainings failed, seed 1: loss is not finite"):
        show_seeds(repeated, as_json=False)
    out = capsys.readouterr().out
    assert "seed 0: mIoU 50.00 %" in out and "deviation" in out
