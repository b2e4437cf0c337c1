"""`semivl concepts embed` as a user meets it."""

import json

import pytest
from typer.testing import CliRunner

from semivl_cli.cli import app
from semivl_cli.concepts.load import load_definition, shipped
from semivl_cli.data.registry import open_dataset, package_file

CLASSES = load_definition("shapes").names
CLIP = str(package_file(open_dataset("shapes"), "clip.safetensors"))


def run(*args, code=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


def test_embed_writes_a_file_and_knows_it_the_second_time(tmp_path):
    out = tmp_path / "vectors.safetensors"
    assert "concepts" in run("concepts", "embed", "shapes", "--out", out).stdout
    told = json.loads(run("concepts", "embed", "shapes", "--out", out, "--weights", CLIP, "--json").stdout)
    assert told["cached"]  # the weights are known by what they are, not by how they were named
    assert told["tensors"]["name"][0] == len(CLASSES) and out.is_file()
    out.write_text("mine")
    assert "holds no text vectors" in run("concepts", "embed", "shapes", "--out", out, code=2).stderr
    assert out.read_text() == "mine"


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_definition_is_embedded_and_checked(name, large_vocabulary, tmp_path):
    told = run("concepts", "embed", name, "--out", tmp_path / "v", "--weights", large_vocabulary, "--json").stdout
    concepts = [text for item in load_definition(name).classes for text in item.concepts]
    assert json.loads(told)["tensors"]["concepts"][0] == len(concepts)
    checked = json.loads(run("concepts", "validate", name, "--weights", large_vocabulary, "--json").stdout)
    assert checked["errors"] == 0
