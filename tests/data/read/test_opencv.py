"""A container without the libraries of X, in which OpenCV cannot be imported."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def semivl(tmp_path):
    """Runs the program where importing cv2 fails."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/cv2.py").write_text(
        'raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")\n'
    )
    paths = [str(tmp_path / "broken"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}

    def run(*arguments):
        command = [sys.executable, "-m", "semivl_cli", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_what_processes_pictures_ends_in_one_line_that_tells_the_cure(semivl):
    done = semivl("train", "--dataset", "shapes", "--set", "training.steps=1")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "libGL.so.1" in line]
    assert "pip install opencv-python-headless" in line


@pytest.mark.parametrize("command", [("--help",), ("prepare", "data"), ("concepts", "validate", "voc")])
def test_what_processes_no_picture_does_without(semivl, command):
    done = semivl(*command)
    assert done.returncode == 0, done.stderr
