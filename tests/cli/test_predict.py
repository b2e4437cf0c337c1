"""`semivl predict --zero-shot` as a user meets it."""

import pytest
from typer.testing import CliRunner

from semivl_cli.cli import app


def run(*args, code=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


def test_zero_shot_writes_the_same_bytes_twice(scenes, tmp_path):
    for out in ("a", "b"):
        run("predict", scenes, "--zero-shot", "--dataset", "shapes", "--out", tmp_path / out, "--overlay")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert len([*(tmp_path / "a").iterdir()]) == 4


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
