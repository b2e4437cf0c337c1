"""Each example of CONTRIBUTING.md, followed to the letter in a copy of the packages, works."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
FOLDERS = {"semivl_cli": "semivl_cli", "plugins": "semivl_plugins", "definitions": "semivl_definitions"}
EXAMPLE = re.compile(r"^`([\w./]+)`:\n\n```(python|diff|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TRAIN = ["train", "--device", "cpu", "--out", "run"]
TRAIN += [word for setting in ("steps=2", "batch=2", "log_steps=1") for word in ("--set", f"training.{setting}")]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A folder in which the packages are copies: what runs there imports them."""
    for folder, package in FOLDERS.items():
        shutil.copytree(ROOT / folder, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "dev"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def follow(copy: Path, title: str) -> None:
    """Do what a section of the page says: write its files, change its lines; each must be there exactly once."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [section] = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    examples = EXAMPLE.findall(section)
    assert examples
    for name, kind, text in examples:
        folder, _, rest = name.partition("/")
        path = copy / FOLDERS.get(folder, folder) / rest
        if kind == "python":
            assert not path.exists()
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            continue
        for change in re.split(r"^@@\n", text, flags=re.MULTILINE):
            lines = change.splitlines(keepends=True)
            before, after = ("".join(line[1:] for line in lines if line[0] in signs) for signs in (" -", " +"))
            content = path.read_text(encoding="utf-8")
            assert content.count(before) == 1, f"{name} does not hold, once:\n{before}"
            path.write_text(content.replace(before, after), encoding="utf-8")


def semivl(copy: Path, *arguments: str) -> str:
    """Run the program of the copy; returns what it says."""
    paths = os.pathsep.join(filter(None, (str(copy), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "semivl_cli", *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_decoder_and_a_fine_tuning_that_were_added_train_and_their_run_predicts(copy):
    follow(copy, "A decoder")
    follow(copy, "A kind of fine-tuning")
    semivl(copy, *TRAIN, "--set", "decoder.kind=similarity", "--set", "finetune.encoder=biases")
    Image.new("RGB", (48, 40)).save(copy / "image.png")
    semivl(copy, "predict", "image.png", "--run", "run", "--out", "masks", "--definition", "shapes")
    with Image.open(copy / "masks" / "image.png") as mask:
        assert mask.size == (48, 40)


def test_a_term_that_was_added_is_part_of_the_loss_and_logged(copy):
    follow(copy, "A term of the loss")
    semivl(copy, *TRAIN)
    lines = [json.loads(line) for line in (copy / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(line["entropy"] > 0 for line in lines if line["kind"] == "train")


def test_a_format_that_was_added_is_recognised_and_painted(copy):
    follow(copy, "An annotation format")
    (copy / "my" / "images").mkdir(parents=True)
    lines = ["image,label,left,top,right,bottom"]
    for name in ("a.png", "b.png"):
        Image.new("RGB", (30, 20)).save(copy / "my" / "images" / name)
        lines.append(f"{name},disc,5,10,25,15")
    (copy / "boxes.csv").write_text("\n".join(lines), encoding="utf-8")
    classes = [("ground", "#000001"), ("disc", "#000002")]
    text = "".join(f'[[class]]\nname = "{name}"\ncolor = "{color}"\n' for name, color in classes)
    (copy / "my.toml").write_text(f'title = "My"\n{text}', encoding="utf-8")
    (copy / "my" / "dataset.toml").write_text("background = 0\n", encoding="utf-8")
    semivl(copy, "prepare", "data", "folder", "--root", "my", "--definition", "my.toml", "--from", "boxes.csv")
    [painted] = [path for path in (copy / "my").rglob("a.png") if path.parent.name == "masks"]
    with Image.open(painted) as mask:
        assert int((np.array(mask) == 1).sum()) == 20 * 5


def test_a_dataset_that_was_added_is_found_and_read(copy):
    follow(copy, "A dataset")
    [entry] = re.findall(r'^meadow = "(.*)"$', (copy / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    (copy / "meadow-0.dist-info").mkdir()
    (copy / "meadow-0.dist-info" / "METADATA").write_text("Name: meadow\nVersion: 0\n", encoding="utf-8")
    (copy / "meadow-0.dist-info" / "entry_points.txt").write_text(f"[semivl.datasets]\nmeadow = {entry}\n")
    for place, mode in (("train/a.jpg", "RGB"), ("val/b.jpg", "RGB"), ("masks/a.png", "L"), ("masks/b.png", "L")):
        path = copy / "data" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (32, 32), 1 if mode == "L" else "green").save(path)
    said = json.loads(semivl(copy, "prepare", "data", "meadow", "--root", "data", "--json"))
    assert {split: count["with_mask"] for split, count in said["splits"].items()} == {"train": 1, "val": 1}
