"""`semivl predict --zero-shot` as a user meets it."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from semivl_cli.cli import app


def run(*args, code=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


def test_zero_shot_writes_the_same_bytes_twice(scenes, tmp_path):
    for out in ("a", "b"):
        run("predict", scenes, "--zero-shot", "--dataset", "shapes", "--out", tmp_path / out, "--overlay")
    written = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")]
    assert sorted(path.parent.name for path in written) == ["", "", "overlays", "overlays"]
    for path in written:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


ZERO_SHOT = ["--zero-shot", "--dataset", "shapes"]


def test_overlays_destroy_no_picture_beside_them(scenes):
    given = sorted(scenes.iterdir())
    photograph = scenes / f"{given[0].stem}_overlay.jpg"
    for path in (photograph, scenes / "overlays" / f"{given[0].stem}.jpg"):
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 7), (1, 2, 3)).save(path)
    before = {path: path.read_bytes() for path in scenes.rglob("*.*")}
    for inputs in ([photograph], [*given, photograph]):
        result = run("predict", *inputs, *ZERO_SHOT, "--out", scenes, "--overlay", code=2 if len(inputs) > 1 else 0)
    assert "exists and was not written by semivl predict" in result.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in scenes.rglob("*.*")} - {path.name for path in before} == {f"{photograph.stem}.png"}


def test_the_same_command_may_be_given_twice_though_its_masks_lie_among_the_inputs(scenes, tmp_path):
    for _ in range(2):
        result = run("predict", scenes, *ZERO_SHOT, "--out", scenes / "masks", "--overlay", "--legend")
    assert "passed over: 5 that semivl wrote" in result.stderr
    assert sorted(path.name for path in (scenes / "masks").rglob("*.png") if path.parent.name == "masks") == sorted(
        path.name for path in scenes.glob("*.png")
    )
    with Image.open(scenes / "masks" / "overlays" / "legend.png") as legend:
        assert (np.asarray(legend.convert("RGB")) == (0xD6, 0x27, 0x28)).all(axis=2).sum() > 100


def test_everything_that_was_given_is_told_in_json_and_one_bad_picture_is_exit_code_1(scenes, tmp_path):
    (scenes / "broken.png").write_bytes(b"no picture")
    (scenes / "link.png").symlink_to("nothing.png")
    (scenes / "photo.heic").touch()
    Image.new("RGB", (3, 1)).save(scenes / "small\n[red].png")
    result = run("predict", scenes, *ZERO_SHOT, "--out", tmp_path / "masks", "--json", "--overlay", code=1)
    told = {line["image"]: line for line in map(json.loads, result.stdout.splitlines())}
    failed = {name for name, line in told.items() if line["error"]}
    assert len(told) == 5 and failed == {str(scenes / "broken.png"), str(scenes / "link.png")}
    assert all(line["mask"] is line["overlay"] is None and line["classes"] == {} for line in map(told.get, failed))
    small = told[str(scenes / "small\n[red].png")]
    with Image.open(small["mask"]) as mask, Image.open(small["overlay"]) as overlay:
        assert mask.size == overlay.size == (3, 1)
    assert "passed over: 1 .heic" in result.stderr and "small" not in result.stderr
    assert (
        result.stderr.splitlines()[-1] == f"semivl: 2 of 5 inputs failed, named above; 3 masks in {tmp_path / 'masks'}"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--zero-shot"], "--definition"),
        (["--zero-shot", "--definition", "shapes", "--run", "runs/one"], "--run"),
        (["--weights", "ViT-B-16"], "--zero-shot"),
        (["--zero-shot", "--definition", "nowhere.toml"], "nowhere.toml"),
        (["--zero-shot", "--definition", "shapes", "--weights", "ViT-B-61"], "ViT-B-16"),
        (["--zero-shot", "--definition", "shapes", "--weights", "ViT-B-16:nowhere.pt"], "nowhere.pt"),
        (["--zero-shot", "--definition", "shapes", "--dataset", "shape"], "shapes"),
        (["--zero-shot", "--definition", "camvid", "--dataset", "shapes"], "vocabulary"),
    ],
)
def test_mistakes_are_one_line(scenes, tmp_path, options, said):
    result = run("predict", scenes, "--out", tmp_path / "masks", *options, code=2)
    assert said in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.output and not (tmp_path / "masks").exists()


def test_an_input_that_nobody_may_read_is_a_failure_among_others_and_no_mistake_of_the_call(
    scenes, tmp_path, monkeypatch
):
    given = sorted(scenes.iterdir())
    monkeypatch.setattr("os.access", lambda path, _: str(path) != str(given[0]))
    result = run("predict", *given, *ZERO_SHOT, "--out", tmp_path / "masks")
    assert "2 masks in" in result.stderr  # opening it is what counts
