"""`semivl concepts diff` as a user meets it."""

import json

from typer.testing import CliRunner

from semivl_cli.cli.concepts import app

KITCHEN = 'title = "Kitchen"\n[[class]]\nname = "cup"\ncolor = "#ff0000"\nconcepts = ["cup", "mug"]\n'


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_diff_tells_each_change_on_a_line(tmp_path):
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(KITCHEN)
    new.write_text(KITCHEN.replace('"mug"', '"beaker"'))
    result = run("diff", old, new)
    assert result.exit_code == 0
    assert sorted(result.stdout.splitlines()) == ['cup gained the concept "beaker"', 'cup lost the concept "mug"']
    changes = json.loads(run("diff", old, new, "--json").stdout)
    assert {change["kind"] for change in changes} == {"concept-added", "concept-removed"}


def test_diff_of_the_same_says_so():
    result = run("diff", "voc", "voc")
    assert (result.exit_code, result.stdout) == (0, "nothing changed in meaning\n")
    assert json.loads(run("diff", "voc", "voc", "--json").stdout) == []
