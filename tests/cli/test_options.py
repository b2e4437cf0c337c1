"""How flags become settings."""

from semivl_cli.cli.options import settings_of


def test_a_folder_is_not_taken_for_the_definition_or_recipe_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "voc").mkdir()
    (tmp_path / "mine.toml").touch()
    found = settings_of({"data.definition": "voc", "recipe": "voc", "data.root": "voc"})
    assert found == {"data": {"definition": "voc", "root": str(tmp_path / "voc")}, "recipe": "voc"}
    assert settings_of({"data.definition": "mine.toml"})["data"]["definition"] == str(tmp_path / "mine.toml")
