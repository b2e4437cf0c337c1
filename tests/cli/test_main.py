"""The program itself: its help is instant, and every command says what it is for."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from semivl_cli.cli import app

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
