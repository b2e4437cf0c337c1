"""The small files of a run: read as they are, or named in one line that says what to do."""

import json
import math

import pytest

from semivl_cli.errors import InputError
from semivl_cli.run_files import Progress, Scores, Split, Status, Summary, read, read_line, read_split

GARBAGE = [b"", b"[]", b"null", b"7", b"\xff\xfe\x00", b"\0" * 50, b"9" * 5000, b"[" * 100_000, b'{"a":' * 5000]
SCORE = {"step": 4, "miou": 0.5, "iou": {"a": 0.5, "b": None}, "images": 3, "on": "val"}


def test_what_is_not_there_yet_is_none(tmp_path):
    assert read(tmp_path / "run.json", Status) is None
    assert read_split(tmp_path) is None


@pytest.mark.parametrize("kind", [Status, Scores, Split, Summary, Progress])
@pytest.mark.parametrize("content", GARBAGE)
def test_garbage_is_one_line_that_says_what_to_do(tmp_path, kind, content):
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(InputError, match=r"file\.json.*: the file is damaged; delete it") as refused:
        read(tmp_path / "file.json", kind)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_folder_in_the_place_of_a_file_is_damage(tmp_path):
    (tmp_path / "run.json").mkdir()
    with pytest.raises(InputError, match="damaged"):
        read(tmp_path / "run.json", Status)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"step": -1}, r"last\.step: expected greater than or equal to 0, got -1"),
        ({"step": 10**400}, r"last\.step: .*, got a number of more than 20 digits"),
        ({"miou": 1.5}, r"last\.miou: expected a share from 0 to 1, got 1\.5"),
        ({"miou": "0.5"}, r"last\.miou: expected a number, got '0\.5'"),
        ({"miou": None}, r"last\.miou: expected a number, got None"),
        ({"iou": [0.5]}, r"last\.iou: expected a table of keys, got a list"),
        ({"iou": {"a": "x"}}, r"last\.iou\.a: expected a number, got 'x'"),
        ({"images": True}, r"last\.images: expected a whole number, got True"),
    ],
)
def test_the_place_in_the_scores_is_told(tmp_path, change, says):
    (tmp_path / "scores.json").write_text(json.dumps({"last": {**SCORE, **change}}))
    with pytest.raises(InputError, match=says):
        read(tmp_path / "scores.json", Scores)


def test_scores_may_be_empty_or_hold_nothing_that_counts(tmp_path):
    (tmp_path / "scores.json").write_text(json.dumps({"last": {**SCORE, "miou": math.nan}, "best": {}, "new": 1}))
    scores = read(tmp_path / "scores.json", Scores)
    assert math.isnan(scores.last.miou) and scores.last.iou == {"a": 0.5, "b": None}
    assert scores.best is scores.result is None


def test_a_split_without_labels_is_put_back(tmp_path):
    split = {"labeled": [], "unlabeled": {"count": 1, "sha256": ""}, "val": [], "sha256": ""}
    (tmp_path / "split.json").write_text(json.dumps(split))
    with pytest.raises(InputError, match=r"labeled: list should have at least 1 item.*put the file back"):
        read_split(tmp_path)


def test_a_line_keeps_what_was_measured():
    line = read_line('{"step": 3, "kind": "train", "loss": 0.5}', "line 1")
    assert (line.step, line.kind, line.model_extra) == (3, "train", {"loss": 0.5})
    for text in ('{"step": 3}', '{"step": 1e99, "kind": "train"}', '{"step": 3, "kind', "[" * 100_000):
        with pytest.raises(InputError, match="line 1"):
            read_line(text, "line 1")
