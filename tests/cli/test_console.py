"""What goes to stdout, and how flags become settings."""

import json
import os

import pytest

from semivl_cli.cli.console import print_json, print_json_line
from semivl_cli.cli.options import settings_of


@pytest.mark.parametrize("show", [print_json, print_json_line])
def test_a_file_name_that_is_no_utf8_is_printed_and_read_back(capfdbinary, show):
    name = os.fsdecode(b"caf\xe9 \xc3\xa9.png")
    show({"image": name})
    out = capfdbinary.readouterr().out.decode()
    assert "é" in out and json.loads(out) == {"image": name}


def test_a_folder_is_not_taken_for_the_definition_or_recipe_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "voc").mkdir()
    (tmp_path / "mine.toml").touch()
    found = settings_of({"data.definition": "voc", "recipe": "voc", "data.root": "voc"})
    assert found == {"data": {"definition": "voc", "root": str(tmp_path / "voc")}, "recipe": "voc"}
    assert settings_of({"data.definition": "mine.toml"})["data"]["definition"] == str(tmp_path / "mine.toml")
