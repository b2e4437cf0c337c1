"""A stranger's plugin, installed with pip, works everywhere a shipped one does; docs/plugins.md is how it was made."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from semivl_cli.cli import app
from semivl_cli.data.registry import open_dataset

PACKAGE = Path(__file__).parent.parent / "stranger"
PAGE = Path(__file__).parent.parent.parent / "docs" / "plugins.md"
STEPS = [word for text in ("training.steps=4", "training.batch=2", "data.workers=0") for word in ("--set", text)]
BROKEN = """[semivl.datasets]
fails = broken_plugin:Fails
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder into which pip installed the package, without network, beside a plugin that fails to import."""
    try:
        able = bool(version("pip")) and int(version("setuptools").split(".")[0]) >= 77
    except PackageNotFoundError:
        able = False
    if not able:
        pytest.skip("needs pip and setuptools 77: pip install '.[test]'")
    home = tmp_path_factory.mktemp("stranger")
    shutil.copytree(PACKAGE, home / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *offline, "--target", home / "site", home / "source"]
    subprocess.run(command, check=True)
    (home / "site" / "broken_plugin.py").write_text("raise ImportError('no module named\\n  rasterio')")
    metadata = home / "site" / "broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(BROKEN)
    return home / "site"


@pytest.fixture
def semivl(installed, tmp_path, monkeypatch):
    """Run a command line in an empty working directory."""
    monkeypatch.syspath_prepend(installed)
    monkeypatch.setenv("PYTHONPATH", str(installed))  # for processes that are started
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code == 0, done.output
        return done

    yield run
    for name in [name for name in sys.modules if name.split(".")[0] in ("semivl_dots", "broken_plugin")]:
        del sys.modules[name]


def test_it_prepares_trains_evaluates_and_predicts(semivl, tmp_path):
    found = json.loads(semivl("prepare", "data", "dots", "--json").stdout)
    assert found["splits"]["train"] == {"images": 16, "with_mask": 16}
    assert list(found["class_images"]) == ["ground", "disc", "ring"]
    scores = json.loads(semivl("train", "--dataset", "dots", "--json", *STEPS).stdout)
    assert scores["run"] == str(Path("runs", "dots-4-1"))
    run = tmp_path / scores["run"]
    assert (run / "definition.toml").read_text() == (PACKAGE / "semivl_dots" / "classes.toml").read_text()
    split = json.loads((run / "split.json").read_text())
    assert split["labeled"] == ["train-00", "train-01", "train-06", "train-07"]  # the list in its package
    assert split["unlabeled"]["count"] == 12
    assert len(split["val"]) == 4
    assert json.loads(semivl("eval", "--json").stdout)
    semivl("predict", "data/dots/val", "--out", "masks")
    with Image.open(tmp_path / "masks" / "val-00.png") as mask:
        assert mask.size == (48, 48)
        assert mask.getpalette()[3:6] == [0xC0, 0x20, 0x10]


def test_its_lists_count_by_their_fractions_too(semivl):
    semivl("prepare", "data", "dots")
    shown = semivl("train", "--dataset", "dots", "--labels", "1/5", *STEPS)
    assert "4 labels: the protocol's own list" in shown.output
    assert "labels: drawn with seed" in semivl("train", "--dataset", "dots", "--labels", "1/6", *STEPS).output


def test_its_definition_is_called_as_a_shipped_one(semivl, tmp_path):
    assert [item["name"] for item in json.loads(semivl("concepts", "show", "dots", "--json").stdout)["class"]] == [
        "ground",
        "disc",
        "ring",
    ]
    semivl("concepts", "validate", "dots", "--dataset", "dots")
    assert "nothing changed" in semivl("concepts", "diff", "dots", str(PACKAGE / "semivl_dots" / "classes.toml")).output
    semivl("concepts", "embed", "dots", "--out", "vectors.safetensors")  # with the weights of its recipe
    semivl("prepare", "data", "dots")
    semivl("concepts", "score", "dots")
    semivl("concepts", "preview", "dots", "data/dots/val")
    semivl("predict", "data/dots/val", "--out", "masks", "--zero-shot", "--definition", "dots")
    assert len(list((tmp_path / "masks").glob("*.png"))) == 4
    shown = semivl("train", "--dataset", "dots", "--print-config").stdout
    assert "width = 32" in shown  # of its recipe


def test_a_broken_plugin_is_listed_with_its_reason_and_breaks_nothing_else(semivl):
    lines = semivl("prepare", "data").stdout.splitlines()
    assert any(line.startswith("dots: Dots: bright discs and rings") for line in lines)
    assert any(re.match(r"fails: BROKEN: .*ImportError: no module named rasterio$", line) for line in lines)
    assert any(line.startswith("voc: Pascal VOC 2012") for line in lines)
    states = {row["name"]: row["broken"] for row in json.loads(semivl("prepare", "data", "--json").stdout)}
    assert states["dots"] is None
    assert "rasterio" in states["fails"]
    asked = CliRunner().invoke(app, ["train", "--dataset", "fails"])
    assert asked.exit_code == 2
    assert asked.stderr.count("\n") == 1
    unknown = CliRunner().invoke(app, ["train", "--dataset", "dot"])
    assert "did you mean 'dots'? known are" in unknown.stderr
    assert "semivl prepare data lists them" in unknown.stderr


def test_it_works_in_a_process_of_its_own(semivl, installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "semivl_cli", "prepare", "data", "dots", "--root", "here"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "20 images drawn in" in done.stderr
    assert "train: 16 images, 16 with a mask" in done.stdout


def test_its_author_checks_it_as_the_page_says(semivl, tmp_path):
    runpy.run_path(str(PACKAGE / "test_dots.py"))["test_the_contract_is_kept"](tmp_path)
    assert open_dataset("dots").name == "dots"


def test_the_page_shows_these_very_files():
    text = PAGE.read_text(encoding="utf-8")
    shown = dict(re.findall(r"`([\w./]+)`[^`\n]*:\n\n```\w+\n(.*?)```\n", text, re.DOTALL))
    assert set(shown) >= {
        path.relative_to(PACKAGE).as_posix()
        for pattern in ("*.toml", "*.py", "semivl_dots/*.py", "semivl_dots/*.toml", "semivl_dots/splits/*.toml")
        for path in PACKAGE.glob(pattern)
    }
    for name, content in shown.items():
        assert content == (PACKAGE / name).read_text(encoding="utf-8"), f"docs/plugins.md shows another {name}"
