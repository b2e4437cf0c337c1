"""A run wants a directory of its own, and takes over what a start left that was killed."""

import json

import pytest

from semivl_cli.engine.rundir.layout import check_free, find_unfinished, is_finished
from semivl_cli.errors import InputError


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize("names", [(), (".lock",), (".lock", "definition.toml", "split.json"), (".lock", ".0.part")])
def test_an_empty_directory_and_what_a_killed_start_left_are_free(tmp_path, names):
    make(tmp_path, *names)
    check_free(tmp_path)
    check_free(tmp_path / "absent")


@pytest.mark.parametrize(
    "names", [("notes.txt",), (".lock", "notes.txt"), ("definition.toml",), ("checkpoints/1/done.json",)]
)
def test_files_of_others_are_not_written_over(tmp_path, names):
    make(tmp_path, *names)
    with pytest.raises(InputError, match="holds other files: a run wants a directory of its own"):
        check_free(tmp_path)


def test_a_run_is_not_written_over(tmp_path):
    make(tmp_path, "run.toml", "definition.toml")
    with pytest.raises(InputError, match="already holds a run: go on with --resume, or give another --out"):
        check_free(tmp_path)


SCORE = {"step": 3, "miou": 0.5, "iou": {"a": 0.5}}
GARBAGE = ["", "[]", "null", "9" * 5000, "[" * 100_000, '{"finished": "yes"}', '{"last": {"step": 1}}']


def finished_run(run):
    run.mkdir(parents=True)
    (run / "run.toml").touch()
    (run / "run.json").write_text(json.dumps({"finished": True, "last": 3}))
    (run / "scores.json").write_text(json.dumps({"last": SCORE, "best": SCORE}))
    return run


def test_a_finished_run_has_its_status_and_its_scores(tmp_path):
    run = finished_run(tmp_path / "run")
    assert is_finished(run)
    for name in ("run.json", "scores.json"):
        whole = (run / name).read_text()
        for content in GARBAGE:
            (run / name).write_text(content)
            assert not is_finished(run)
        (run / name).unlink()
        assert not is_finished(run)
        (run / name).write_text(whole)
    (run / "scores.json").write_text('{"last": {}, "best": {}}')
    assert not is_finished(run)


def test_the_newest_unfinished_run_is_found_beside_damaged_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = finished_run(tmp_path / "runs" / "a-1-1")
    with pytest.raises(InputError, match="no unfinished run"):
        find_unfinished()
    (run / "run.json").write_bytes(b"\xff")
    assert find_unfinished().name == "a-1-1"
    seeds = tmp_path / "runs" / "a-seeds-1"
    seeds.mkdir()
    (seeds / "seeds.json").write_text('{"seeds": [0, 1]}')
    assert find_unfinished().name == "a-seeds-1"
    (seeds / "seeds.json").write_text('{"seeds": "0"}')
    with pytest.raises(InputError, match=r"seeds\.json: seeds: expected a list, got '0'"):
        find_unfinished()
