"""`semivl concepts validate | show | diff` as a user meets them."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from semivl_cli.cli.concepts import app
from semivl_cli.concepts.validate import CODES
from semivl_cli.errors import CheckFailed, InputError

KITCHEN = 'title = "Kitchen"\n[[class]]\nname = "cup"\ncolor = "#ff0000"\nconcepts = ["cup", "mug"]\n'
WARNS = KITCHEN.replace("title", 'templates = ["{} {}"]\ntitle')
BROKEN = KITCHEN + 'colour = "red"\n'


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def write(tmp_path):
    def write(text, name="kitchen.toml"):
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


def test_a_good_file_is_silent_on_stdout(write):
    result = run("validate", write(KITCHEN), "voc")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "0 errors, 0 warnings in 2 files" in result.stderr


def test_a_problem_is_one_line_with_place_and_advice(write):
    file = write(BROKEN)
    result = run("validate", file)
    assert isinstance(result.exception, CheckFailed)
    assert result.stdout == f'{file}:6: error: unknown key "colour" (did you mean "color"?) [unknown-key]\n'


@pytest.mark.parametrize(("options", "error"), [([], None), (["--strict"], CheckFailed)])
def test_warnings_fail_only_when_strict(write, options, error):
    result = run("validate", write(WARNS), *options)
    assert "warning" in result.stdout
    assert type(result.exception) is error if error else result.exit_code == 0


@pytest.mark.parametrize("output", [[], ["--json"], ["--sarif"]])
def test_what_cannot_be_read_or_parsed_is_reported_beside_the_rest(write, tmp_path, output):
    result = run("validate", write(BROKEN), write("[", "syntax.toml"), tmp_path / "missing.toml", *output)
    assert isinstance(result.exception, InputError)
    for code in ("unknown-key", "syntax", "unreadable"):
        assert code in result.stdout
    assert "missing.toml" in str(result.exception)
    assert "syntax.toml" in str(result.exception)


def test_json_holds_every_problem(write):
    file = write(BROKEN)
    report = json.loads(run("validate", file, "voc-gpt", "--json").stdout)
    assert (report["errors"], report["warnings"]) == (1, 1)
    assert report["problems"][0] == {
        "file": str(file),
        "line": 6,
        "severity": "error",
        "code": "unknown-key",
        "message": 'unknown key "colour"',
        "advice": 'did you mean "color"?',
    }


def test_sarif_points_at_file_and_line(write, monkeypatch, tmp_path):
    write(BROKEN, "my kitchen.toml")
    monkeypatch.chdir(tmp_path)
    log = json.loads(run("validate", "my kitchen.toml", tmp_path / "my kitchen.toml", "--sarif").stdout)
    assert log["version"] == "2.1.0"
    (sarif_run,) = log["runs"]
    rules = [rule["id"] for rule in sarif_run["tool"]["driver"]["rules"]]
    assert rules == list(CODES)
    relative, absolute = sarif_run["results"]
    assert relative["level"] == "error"
    assert rules[relative["ruleIndex"]] == relative["ruleId"] == "unknown-key"
    assert relative["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "my%20kitchen.toml"},
        "region": {"startLine": 6},
    }
    uri = absolute["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == (tmp_path / "my kitchen.toml").as_uri()


def test_only_one_format_at_a_time():
    assert isinstance(run("validate", "voc", "--json", "--sarif").exception, InputError)


def test_a_definition_must_fit_the_dataset():
    assert run("validate", "voc", "voc-gpt", "--dataset", "voc").exit_code == 0
    result = run("validate", "cityscapes", "--dataset", "voc")
    assert isinstance(result.exception, CheckFailed)
    assert "[class-count]" in result.stdout
    assert "[class-name]" in result.stdout


def test_an_unknown_dataset_is_the_users_mistake():
    assert isinstance(run("validate", "voc", "--dataset", "vooc").exception, InputError)


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


def test_show_refuses_a_broken_file(write):
    assert isinstance(run("show", write(BROKEN)).exception, InputError)


def test_diff_tells_each_change_on_a_line(write):
    old, new = write(KITCHEN), write(KITCHEN.replace('"mug"', '"beaker"'), "new.toml")
    result = run("diff", old, new)
    assert result.exit_code == 0
    assert sorted(result.stdout.splitlines()) == ['cup gained the concept "beaker"', 'cup lost the concept "mug"']
    changes = json.loads(run("diff", old, new, "--json").stdout)
    assert {change["kind"] for change in changes} == {"concept-added", "concept-removed"}


def test_diff_of_the_same_says_so():
    result = run("diff", "voc", "voc")
    assert (result.exit_code, result.stdout) == (0, "nothing changed in meaning\n")
    assert json.loads(run("diff", "voc", "voc", "--json").stdout) == []


def test_the_commands_import_no_model_and_no_image_library():
    code = (
        "import sys; from semivl_cli.cli.concepts import app; "
        "app(['validate', 'voc', 'camvid'], standalone_mode=False); "
        "assert not {'torch', 'open_clip', 'cv2', 'numpy', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("command", ["validate", "show", "diff"])
def test_help_fits_a_screen_and_shows_an_example(command):
    text = run(command, "--help").stdout
    assert f"Example: semivl concepts {command} " in text
    assert len(text.splitlines()) <= 24
