"""Runs that version 0.1.0 wrote before the rooms were moved still load, predict, score and go on.

`earlier_runs/` holds one of `shapes` (weights alone), one of a folder that was killed after its fourth step, and one
imported from a checkpoint of the published form; `expected/` is what that version made of them.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from semivl_cli.cli import app

EARLIER = Path(__file__).parent / "earlier_runs"
TIMES = ("seconds", "images_per_second")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("shapes", "folder", "imported"):
        shutil.copytree(EARLIER / name, name)


def run(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.parametrize(
    ("name", "pictures"), [("folder", "blobs/images"), ("shapes", "scenes"), ("imported", "pictures")]
)
def test_an_earlier_run_predicts_what_it_did(name, pictures):
    run("predict", EARLIER / pictures, "--out", "masks", "--run", name)
    expected = sorted((EARLIER / "expected" / name).iterdir())
    assert sorted(path.name for path in Path("masks").iterdir()) == [path.name for path in expected]
    for path in expected:
        with Image.open(path) as before, Image.open(Path("masks", path.name)) as now:
            assert before.getpalette() == now.getpalette()
            assert before.text == now.text  # the mark by which predict knows its own files
            assert (np.asarray(before) != np.asarray(now)).mean() <= 0.001


def test_an_earlier_run_scores_as_it_did():
    [scored] = json.loads(run("eval", "shapes", "--json").stdout)
    assert scored["miou"] == pytest.approx(json.loads(Path("shapes/scores.json").read_text())["best"]["miou"], abs=1e-4)


def test_an_earlier_run_goes_on_as_it_would_have():
    run("train", "--resume", "--out", "folder", "--root", EARLIER / "blobs")
    now, before = (
        load_file(f) for f in ("folder/checkpoints/6/model.safetensors", EARLIER / "expected/folder-6.safetensors")
    )
    assert now.keys() == before.keys()
    for name, value in before.items():
        if name.endswith("in_proj_bias"):  # softmax forgets the bias of keys: AdamW moves it by rounding alone
            continue
        torch.testing.assert_close(now[name], value, rtol=1e-3, atol=1e-5)
    lines = [
        [line for line in map(json.loads, path.read_text().splitlines()) if line["kind"] != "alarm"]  # another machine
        for path in (Path("folder/metrics.jsonl"), EARLIER / "expected" / "folder-metrics.jsonl")
    ]
    for line, expected in zip(*lines, strict=True):
        assert line.keys() - {"miou_present"} == expected.keys()  # which that version did not count
        for key, value in expected.items():
            if isinstance(value, float) and key not in TIMES:
                assert line[key] == pytest.approx(value, rel=1e-2, abs=1e-4), key


def test_other_words_for_an_earlier_run():
    run("predict", EARLIER / "scenes", "--out", "masks", "--run", "shapes", "--definition", "shapes-careless")
    assert len(list(Path("masks").iterdir())) == 3
