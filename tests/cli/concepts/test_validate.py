"""`semivl concepts validate` as a user meets it."""

import json

import pytest
from typer.testing import CliRunner

from semivl_cli.cli.concepts import app
from semivl_cli.concepts.problems import CODES
from semivl_cli.data.registry import open_dataset, package_file
from semivl_cli.errors import CheckFailed, InputError

CLIP = str(package_file(open_dataset("shapes"), "clip.safetensors"))
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


def test_validate_asks_a_clip_when_told_to():
    plain = json.loads(run("validate", "shapes", "--json").stdout)
    asked = json.loads(run("validate", "shapes", "--weights", CLIP, "--json").stdout)
    assert asked["errors"] == 0
    new = [problem for problem in asked["problems"] if problem not in plain["problems"]]
    assert {problem["code"] for problem in new} <= {"near-concepts"}


def test_validate_does_not_ask_about_a_broken_file(write):
    result = run("validate", write('title = "Kitchen"\n'), "--weights", "no-such-clip")
    assert isinstance(result.exception, CheckFailed)
    assert "no-class" in result.stdout
