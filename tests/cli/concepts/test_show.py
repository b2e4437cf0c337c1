"""`semivl concepts show` as a user meets it."""

import json

from typer.testing import CliRunner

from semivl_cli.cli.concepts import app
from semivl_cli.errors import InputError


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_show_tells_classes_concepts_and_prompts():
    shown = " ".join(run("show", "voc").stdout.replace("│", " ").split())
    for text in (
        "9 chair",
        "concepts: chair, armchair, deckchair",
        "excludes: stool, wheelchair",
        "a photo of a chair",
    ):
        assert text in shown


def test_show_as_json():
    chair = json.loads(run("show", "voc", "--json").stdout)["class"][9]
    assert (chair["id"], chair["name"], chair["color"]) == (9, "chair", "#c00000")
    assert chair["prompts"]["concepts"] == ["a photo of a chair", "a photo of a armchair", "a photo of a deckchair"]
    assert chair["prompts"]["name"] == ["a photo of a chair"]


def test_show_refuses_a_broken_file(tmp_path):
    (tmp_path / "broken.toml").write_text('title = "Kitchen"\ncolour = "red"\n')
    assert isinstance(run("show", tmp_path / "broken.toml").exception, InputError)
