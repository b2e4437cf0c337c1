"""`semivl concepts preview` as a user meets it."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from semivl_cli.cli import app
from semivl_cli.concepts.load import load_definition

CLASSES = load_definition("shapes").names


def run(*args, code=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


def test_preview_and_zero_shot_tell_the_same(scenes, tmp_path):
    seen = run("concepts", "preview", "shapes", scenes, "--out", tmp_path / "seen", "--json").stdout
    masks = run(
        "predict", scenes, "--zero-shot", "--definition", "shapes", "--out", tmp_path / "masks", "--json"
    ).stdout
    previews, predictions = ([json.loads(line) for line in text.splitlines()] for text in (seen, masks))
    assert len(previews) == len(predictions) == 2
    for preview, prediction in zip(previews, predictions, strict=True):
        assert preview["image"] == prediction["image"] and preview["error"] is prediction["error"] is None
        shares = {name: found["share"] for name, found in preview["classes"].items()}
        assert shares == pytest.approx(prediction["classes"])
        with Image.open(preview["picture"]) as picture:
            assert picture.size > (600, 600)
        with Image.open(prediction["mask"]) as mask, Image.open(prediction["image"]) as image:
            assert mask.mode == "P" and mask.size == image.size
            ids, counts = np.unique(np.asarray(mask), return_counts=True)
        assert shares == pytest.approx(
            {CLASSES[k]: count / image.width / image.height for k, count in zip(ids, counts, strict=True)}
        )


def test_preview_passes_over_what_it_cannot_read(scenes, tmp_path):
    broken = scenes / "broken.png"
    broken.write_bytes(b"no picture")
    (scenes / "link.png").symlink_to("nothing.png")
    result = run("concepts", "preview", "shapes", scenes, "--out", tmp_path / "seen", "--json", code=1)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["image"] for line in lines if line["error"]] == [str(scenes / "link.png"), str(broken)]
    assert "2 of 4 inputs failed, named above; 2 pictures in" in result.stderr
    assert len([*(tmp_path / "seen").iterdir()]) == 2


def test_a_preview_that_cannot_be_written_costs_no_other(tmp_path):
    for name in (os.fsdecode(b"caf\xe9\n.png"), f"{'l' * 250}.jpg", f"{'l' * 250}.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "in" / name)
    result = run("concepts", "preview", "shapes", tmp_path / "in", "--out", tmp_path / "seen", "--json", code=1)
    errors = [json.loads(line)["error"] for line in result.stdout.splitlines()]
    assert errors[0] is None and all("too long" in error for error in errors[1:])


def test_preview_overwrites_its_own_pictures_alone(scenes, tmp_path):
    for _ in range(2):
        run("concepts", "preview", "shapes", scenes, "--out", tmp_path / "seen")
    picture = next((tmp_path / "seen").iterdir())
    Image.new("L", (4, 4)).save(picture)
    assert picture.name in run("concepts", "preview", "shapes", scenes, "--out", tmp_path / "seen", code=2).stderr


def test_real_street_scenes_are_previewed(test_data, large_vocabulary, tmp_path):
    street = sorted((test_data / "camvid" / "images").iterdir())[0]
    told = json.loads(
        run("concepts", "preview", "camvid", street, "--weights", large_vocabulary, "--out", tmp_path, "--json").stdout
    )
    assert sum(found["share"] for found in told["classes"].values()) == pytest.approx(1)
