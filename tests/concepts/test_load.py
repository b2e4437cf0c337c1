"""Finding and opening definition files."""

import subprocess
import sys

import pytest

from semivl_cli.concepts.load import definition_text, load_definition, parse_definition, shipped
from semivl_cli.errors import InputError

KITCHEN = 'title = "Kitchen"\n[[class]]\nname = "cup"\ncolor = "#ff0000"\n'


def test_shipped_names():
    names = shipped()
    assert names == sorted(names)
    assert {"voc", "voc-gpt", "voc-dictionary", "cityscapes", "coco", "ade20k", "camvid"} <= set(names)


def test_a_path_is_read(tmp_path):
    file = tmp_path / "kitchen.toml"
    file.write_text(KITCHEN)
    assert load_definition(file).names == load_definition(str(file)).names == ("cup",)


def test_a_shipped_name_wins_over_a_file_without_ending(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "voc").write_text(KITCHEN)
    assert len(load_definition("voc").classes) == 21
    assert load_definition("./voc").names == ("cup",)


def test_the_text_is_exact(tmp_path):
    file = tmp_path / "kitchen.toml"
    exact = ("\ufeff" + KITCHEN + "# é\n").replace("\n", "\r\n")
    file.write_bytes(exact.encode())
    assert definition_text(file) == exact
    assert parse_definition(definition_text(file), "copy").names == ("cup",)
    assert parse_definition(definition_text("voc"), "copy") == load_definition("voc")


def test_an_unknown_name_tells_the_nearest():
    with pytest.raises(InputError, match=r"cityscape'.*ade20k, camvid.*did you mean 'cityscapes'"):
        load_definition("cityscape")


@pytest.mark.parametrize("name", ["missing.toml", ".", "folder/voc.toml"])
def test_a_missing_file_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        load_definition(name)
    assert "no such definition or file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_names_the_first_problem_and_counts_the_rest(tmp_path):
    file = tmp_path / "kitchen.toml"
    file.write_text(KITCHEN + 'colour = "red"\nexcludes = ["pan"]\n')
    with pytest.raises(InputError) as caught:
        load_definition(file)
    message = str(caught.value)
    assert message.startswith(f"{file}:5: ")
    assert "(and 1 more)" in message
    assert message.endswith(f"semivl concepts validate {file}")


def test_a_file_that_is_no_text_is_the_users_mistake(tmp_path):
    file = tmp_path / "kitchen.toml"
    file.write_bytes(KITCHEN.encode("utf-16"))
    for open_it in (load_definition, definition_text):
        with pytest.raises(InputError, match="UTF-8"):
            open_it(file)


def test_opening_looks_for_no_warning_and_reads_no_vocabulary():
    code = (
        "import sys; from semivl_cli.concepts.load import load_definition, shipped\n"
        "for name in shipped(): load_definition(name)\n"
        "assert not {'ftfy', 'regex', 'gzip'} & set(sys.modules)\n"
        "assert not {f'semivl_cli.concepts.{name}' for name in ('warnings', 'tokens', 'lookalike')} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_published_spelling_is_chosen_on_opening():
    plain, published = load_definition("voc"), load_definition("voc", "published")
    assert published.names == plain.names and published.classes != plain.classes
    assert published == parse_definition(definition_text("voc"), "copy", "published") == plain.respelled()


def test_warnings_do_not_stop_anyone():
    definition = parse_definition('templates = ["{} {}"]\n' + KITCHEN, "kitchen.toml")
    assert definition.templates == ["{} {}"]
