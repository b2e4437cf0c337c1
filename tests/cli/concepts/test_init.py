"""The group `semivl concepts`: its help, and that commands about words alone stay quick to start."""

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from semivl_cli.cli.concepts import app


@pytest.mark.parametrize("command", ["validate", "show", "diff", "embed", "preview", "score"])
def test_help_shows_an_example(command):
    text = CliRunner().invoke(app, [command, "--help"]).stdout
    assert re.search(rf"Examples?: semivl concepts {command} ", text)


@pytest.mark.parametrize("command", ["validate", "show", "diff"])
def test_help_fits_a_screen(command):
    assert len(CliRunner().invoke(app, [command, "--help"]).stdout.splitlines()) <= 24


def test_the_commands_import_no_model_and_no_image_library():
    code = (
        "import sys; from semivl_cli.cli.concepts import app; "
        "app(['validate', 'voc', 'camvid'], standalone_mode=False); "
        "assert not {'torch', 'open_clip', 'cv2', 'numpy', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
