"""`semivl concepts score` as a user meets it."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from semivl_cli.cli import app
from semivl_cli.concepts.load import load_definition

SHAPES = load_definition("shapes")


@pytest.fixture
def score(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str):
        return CliRunner().invoke(app, ["concepts", "score", *arguments, "--device", "cpu"])

    return run


def test_tables_name_every_class_and_say_what_to_do(score):
    result = score("shapes", "--labels", "2")
    assert result.exit_code == 0, result.output
    assert "2 labels: drawn with seed 0" in result.stderr
    first, *rest = result.stdout.splitlines()
    assert first.startswith("shapes on 2 images of shapes: mIoU ")
    assert any(line.startswith("- ") for line in rest)
    for name in SHAPES.names:
        assert f"│ {name} " in result.stdout


def test_json_holds_every_class_and_concept(score):
    result = score("shapes", "--labels", "2", "--seed", "5", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert len(found["labels"]) == 2
    assert found["zeta"] == 0.9
    findings = found["findings"]
    assert [item["name"] for item in findings["classes"]] == list(SHAPES.names)
    expected = {(text, item.name) for item in SHAPES.classes for text in item.concepts}
    assert {(item["text"], item["class_name"]) for item in findings["concepts"]} == expected
    assert sum(item["pixels"] for item in findings["classes"]) == 2 * 96 * 96
    lone = [item.name for item in SHAPES.classes if len(item.concepts) == 1]
    assert {item["class_name"] for item in findings["concepts"] if item["without"] is None} == set(lone)


def test_a_word_in_the_wrong_class_is_found_first_and_its_own_class_is_named(score, tmp_path):
    moved = next(item for item in SHAPES.classes[1:] if len(item.concepts) > 1)
    word = moved.concepts[0]
    lines = [f'title = "Wrong"\ntemplates = {json.dumps(SHAPES.templates)}']
    for n, item in enumerate(SHAPES.classes):
        concepts = [text for text in item.concepts if text != word] + ([word] if n == 0 else [])
        lines.append(f'[[class]]\nname = "{item.name}"\ncolor = "#0000{n:02x}"\nconcepts = {json.dumps(concepts)}')
    (tmp_path / "wrong.toml").write_text("\n".join(lines))
    result = score("wrong.toml", "--dataset", "shapes", "--labels", "24", "--json")
    assert result.exit_code == 0, result.output
    worst = json.loads(result.stdout)["findings"]["concepts"][0]
    assert (worst["text"], worst["class_name"], worst["better_in"]) == (word, SHAPES.names[0], moved.name)
    assert worst["moved"]["miou"] > 0


def test_an_own_folder_with_weights_of_random_clip(score, tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "street" / folder).mkdir(parents=True)
    for k in range(4):
        Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(tmp_path / f"street/images/{k}.png")
        mask = rng.choice([0, 1, 255], (70, 90)).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / f"street/masks/{k}.png")
    (tmp_path / "street" / "val.txt").write_text("0\n")
    (tmp_path / "street.toml").write_text(
        'title = "Street"\n[[class]]\nname = "road"\ncolor = "#804080"\n'
        '[[class]]\nname = "car"\ncolor = "#000080"\nconcepts = ["car", "van"]\n'
    )
    tiny = ("--set", "recipe=tiny", "--set", "data.crop=32", "--set", "evaluation.short_side=none")
    result = score("street.toml", "--dataset", "folder", "--root", "street", "--labels", "2", *tiny, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    masks = [np.asarray(Image.open(tmp_path / f"street/masks/{name}.png")) for name in found["labels"]]
    counted = [item["pixels"] for item in found["findings"]["classes"]]
    assert counted == [sum(int((mask == n).sum()) for mask in masks) for n in (0, 1)]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["nowhere.toml", "--dataset", "shapes"], "no such definition or file"),
        (["shapes-careless"], "--dataset NAME"),
        (["shapes", "--dataset", "shape"], "shapes"),
        (["shapes", "--labels", "9999"], "200"),
        (["shapes", "--set", "guidance.zetta=0.5"], "zeta"),
        (["shapes", "--weights", "gone.safetensors"], "gone.safetensors"),
        (["voc", "--dataset", "shapes"], "vocabulary"),
    ],
)
def test_mistakes_are_one_line(score, arguments, hint):
    result = score(*arguments)
    assert result.exit_code == 2
    assert hint in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("semivl: ")]) == 1
