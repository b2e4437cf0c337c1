"""A run directory is read as it is, in whatever state its training left it."""

import json
import math

import pytest

from semivl_cli.errors import InputError
from semivl_cli.report.run import number, read_run

from .conftest import write_run


def test_a_finished_run_is_read(finished):
    run = read_run(finished)
    assert run.definition.title == "Shapes" and run.finished and run.last_step == 300
    assert run.settings["training.steps"] == 300
    assert (
        run.definition.classes[1].name == "round"
        and run.definition.classes[1].color == (0xE6, 0x9F, 0)
        and run.definition.classes[1].concepts[0] == "disc"
    )
    assert (run.split.unlabeled.count, len(run.split.val), len(run.split.labeled)) == (188, 120, 12)
    assert run.best.selected_on == "val" and run.last.iou["cross"] == 0.55
    assert math.isnan(run.last.iou["heart"])
    assert [example.id for example in run.examples] == [f"val-{k:04d}" for k in range(6)]


def test_a_young_run_has_no_more_than_settings_and_classes(young):
    run = read_run(young)
    assert len(run.definition.classes) == 6
    assert run.last is run.best is run.last_step is None and not run.split
    assert run.train == run.evals == run.examples == () and not run.finished


def test_a_class_may_have_a_colour_as_numbers_and_no_concepts(young):
    (young / "definition.toml").write_text('title = "T"\n[[class]]\nname = "cat"\ncolor = [1, 2, 3]\n')
    (entry,) = read_run(young).definition.classes
    assert (entry.name, entry.color, entry.concepts) == ("cat", (1, 2, 3), ["cat"])


def test_examples_come_in_the_order_of_their_numbers(young):
    for name in ("10-b", "2-a-with-dash", "notes"):
        (young / "examples" / name).mkdir(parents=True)
    assert [example.id for example in read_run(young).examples] == ["a-with-dash", "b"]


def test_a_resumed_run_counts_its_later_lines(young):
    lines = [{"step": step, "kind": "train", "loss": loss} for step, loss in [(0, 1), (10, 2), (20, 3), (10, 4)]]
    (young / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [(line["step"], line["loss"]) for line in read_run(young).train] == [(0, 1), (10, 4), (20, 3)]


def test_a_last_line_that_is_still_being_written_waits(young):
    (young / "metrics.jsonl").write_text('{"step": 0, "kind": "train", "loss": 1}\n{"step": 10, "ki')
    assert len(read_run(young).train) == 1


def test_a_last_line_without_newline_counts_if_it_is_whole(young):
    (young / "metrics.jsonl").write_text('{"step": 0, "kind": "train"}\n{"step": 10, "kind": "train"}')
    assert len(read_run(young).train) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.toml", "a = "),
        ("definition.toml", "[[class"),
        ("scores.json", "{"),
        ("split.json", ""),
        ("metrics.jsonl", "{broken\n{}\n"),
        ("metrics.jsonl", b"\xff\x00\xfe\n" * 3),
        ("metrics.jsonl", '{"step": "1", "kind": "train"}\n\n'),
        ("metrics.jsonl", '{"step": 1}\n\n'),
        ("metrics.jsonl", f'{{"step": {"9" * 5000}, "kind": "train"}}\n\n'),
        ("metrics.jsonl", "[" * 100_000 + "\n\n"),
        ("run.json", b"\xff\xfe\x00"),
        ("run.json", "[]"),
        ("run.json", '{"last": "300"}'),
        ("scores.json", '{"last": {"step": 1}}'),
        ("scores.json", '{"last": {"step": 1, "miou": 7, "iou": {}}}'),
        ("split.json", '{"labeled": 3}'),
        ("run.toml", "a = " + "9" * 5000),
        ("run.toml", "a = " + "[" * 5000),
        ("run.toml", b"\xff\xfe\x00"),
    ],
)
def test_a_broken_file_is_named_in_one_line(young, name, content):
    (young / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=name) as error:
        read_run(young)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_numbers_that_no_chart_can_show_are_none(young):
    line = {"step": 1, "kind": "train", "loss": 10**400, "L_s": [1], "L_u": "x", "lr": None, "seconds": math.inf}
    (young / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    (read,) = read_run(young).train
    assert all(math.isnan(number(read[name])) for name in line if name not in ("step", "kind"))


@pytest.mark.parametrize("name", ["scores.json", "metrics.jsonl", "split.json", "run.json"])
def test_a_folder_in_the_place_of_a_file_is_named(young, name):
    (young / name).mkdir()
    with pytest.raises(InputError, match=name):
        read_run(young)


@pytest.mark.parametrize("missing", ["run.toml", "definition.toml"])
def test_what_is_no_run_directory_is_refused(tmp_path, missing):
    write_run(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match=f"no run directory: {missing} is missing"):
        read_run(tmp_path)
