"""The program itself: its help is instant, and every command says what it is for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from semivl_cli.cli import app
from semivl_cli.cli.options import _CALLED_ELSEWHERE
from semivl_cli.settings_toml import known_settings

COMMANDS = [
    *(("train",), ("eval",), ("predict",)),
    *(("prepare", name) for name in ("data", "checkpoint", "weights")),
    *(("concepts", name) for name in ("validate", "show", "diff", "embed", "preview", "score")),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command):
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0 and f"semivl {' '.join(command)}" in result.stdout


def test_help_imports_nothing_heavy():
    heavy = "{'torch', 'numpy', 'PIL', 'cv2', 'open_clip', 'matplotlib'}"
    code = f"import sys, semivl_cli.cli; print({heavy} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["train", "--steps=5"], "train has no option --steps: it is a setting: --set training.steps=VALUE"),
        (["train", "--lr", "0.1"], "train has no option --lr: it is a setting: --set optimizer.lr=VALUE"),
        (
            ["train", "--batch-size", "4"],
            "train has no option --batch-size: it is a setting: --set training.batch=",
        ),
        (["train", "--imgsz", "64"], "train has no option --imgsz: it is a setting: --set data.crop=VALUE"),
        (["train", "--workers", "0"], "train has no option --workers: it is a setting: --set data.workers=VALUE"),
        (["train", "--gpu", "1"], "train has no option --gpu: here it is --gpus N for several, --device cuda:N for "),
        (["predict", "a.png", "--checkpoint", "x"], "predict has no option --checkpoint: here it is --run"),
    ],
)
def test_an_option_that_other_tools_have_is_answered_with_what_it_is_here(command, said):
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"semivl: {said}") and result.stderr.count("\n") == 1


def test_every_answer_to_an_option_of_other_tools_is_true():
    settings = {setting.rpartition(".")[2] for setting in known_settings()}
    commands = typer.main.get_command(app).commands.values()
    options = {name for command in commands for parameter in command.params for name in parameter.opts}
    for name in _CALLED_ELSEWHERE.values():
        assert name.split()[0] in settings | options


def test_options_that_are_like_no_setting_are_refused_as_ever():
    result = CliRunner().invoke(app, ["predict", "a.png", "--steps", "5"])
    assert result.exit_code == 2 and "No such option: --steps" in result.stderr


STRASSE = 'title = "x"\n[[class]]\nname = "Straße 🚗"\ncolor = "#000000"\n[[class]]\nname = "b"\ncolor = "#ffffff"\n'


def shell(line, folder, **environment):
    """Run a line of a shell, in which `semivl` is the program."""
    (folder / "semivl").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m semivl_cli "$@"\n')
    (folder / "semivl").chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "PYTHONUTF8": "0", **environment}
    return subprocess.run(["sh", "-c", line], check=False, cwd=folder, env=variables, capture_output=True, timeout=100)


needs_shell = pytest.mark.skipif(sys.platform == "win32", reason="a shell and /dev/full are POSIX")


@needs_shell
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_every_character_is_printed_on_any_terminal(tmp_path, encoding):
    (tmp_path / "street.toml").write_text(STRASSE, encoding="utf-8")
    done = shell("semivl concepts show street.toml && semivl nothing", tmp_path, PYTHONIOENCODING=encoding)
    assert b"Stra" in done.stdout and b"\\U0001f697" in done.stdout and b"Traceback" not in done.stderr
    values = shell("semivl concepts show street.toml --json", tmp_path, PYTHONIOENCODING=encoding)
    assert json.loads(values.stdout)["class"][0]["name"] == "Straße 🚗"


@needs_shell
def test_a_closed_stdout_goes_nowhere_and_into_no_file(tmp_path):
    (tmp_path / "street.toml").write_text(STRASSE, encoding="utf-8")
    done = shell("semivl concepts show street.toml >&- 2>&- <&- && semivl concepts show nowhere >&-", tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(b"semivl: no such definition")


@needs_shell
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is full")
def test_a_full_stdout_is_one_line(tmp_path):
    done = shell("semivl concepts show voc > /dev/full", tmp_path)
    assert done.returncode == 3 and done.stderr == b"semivl: No space left on device\n"


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "x" * 5000],
        ["predict", "a.png", "--out", "masks", "--run", "x" * 5000],
        ["train", "--root", "x" * 5000, "--dataset", "folder", "--definition", "voc"],
        ["train", "--recipe", "x" * 5000 + ".toml"],
        ["train", "--labels", "x" * 5000],
        ["prepare", "weights", "ViT-B-32", "x" * 5000 + ".pt"],
        ["concepts", "validate", "x" * 5000],
    ],
)
def test_a_name_longer_than_any_file_has_is_the_users_mistake(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    [line] = result.stderr.strip().splitlines()
    assert "File name too long" in line or "expected" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("labels", ["-3", "1e-3", "50%"])
def test_a_number_of_labels_that_cannot_be_is_no_file(labels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["train", "--labels", labels])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"semivl: labels '{labels}': expected all, a count of at least 1 (92), a fraction")


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be removed there")
@pytest.mark.parametrize("arguments", [["-m", "semivl_cli"], ["-c", "from semivl_cli.cli import main; main()"]])
def test_a_working_directory_that_is_gone_is_one_line(arguments, tmp_path):
    program = "import os, sys; os.rmdir(os.getcwd()); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    words = [sys.executable, "-c", program, *arguments, "train"]
    (tmp_path / "gone").mkdir()
    done = subprocess.run(words, cwd=tmp_path / "gone", capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("semivl: the working directory is gone") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["MEGAPIXELS", "DOCUMENT_MIB", "UNPACKED_GIB", "PARAMETERS_MILLION"])
def test_a_limit_that_is_no_number_is_blamed_on_no_file(name, tmp_path, monkeypatch):
    (tmp_path / "a.png").touch()
    monkeypatch.setenv(f"SEMIVL_MAX_{name}", "abc")
    result = CliRunner().invoke(app, ["predict", str(tmp_path / "a.png"), "--out", str(tmp_path / "masks")])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"semivl: $SEMIVL_MAX_{name} = 'abc': expected a whole number")
