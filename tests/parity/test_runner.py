"""The runner itself: a directory of its own grammar passes, an unknown name or an altered number does not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent


def run(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", str(HERE / "test_parity.py"), "--parity-dir", str(directory)]
    command += ["-p", "no:cacheprovider", "-q"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=HERE.parents[1])


@pytest.fixture
def small(tmp_path) -> Path:
    """Case `b` alone, without the tables, under another name."""
    case = json.loads((HERE / "data" / "manifest.json").read_text())["cases"]["b"]
    for part in ("weights", "forward"):
        save_file(load_file(HERE / "data" / f"b.{part}.safetensors"), tmp_path / f"other.{part}.safetensors")
    case["files"] = {name.replace("b.", "other.", 1): tensors for name, tensors in case["files"].items()}
    (tmp_path / "manifest.json").write_text(json.dumps({"format": "safetensors", "cases": {"other": case}}))
    return tmp_path


def test_any_directory_of_the_grammar_passes_and_the_comparisons_are_counted(small):
    done = run(small)
    assert done.returncode == 0, done.stdout
    assert f"scalars compared in {small}" in done.stdout


def test_an_unknown_name_and_an_altered_number_fail(small):
    path = small / "other.forward.safetensors"
    tensors = load_file(path)
    tensors["dec.surprise"] = tensors["dec.sim"].clone()
    tensors["dec.head"][0, 0, 0, 0] += 2e-4 * tensors["dec.head"].abs().max()
    save_file(tensors, path)
    manifest = json.loads((small / "manifest.json").read_text())
    entries = manifest["cases"]["other"]["files"][path.name]
    entries["dec.surprise"] = entries["dec.sim"]
    (small / "manifest.json").write_text(json.dumps(manifest))
    done = run(small)
    assert done.returncode == 1
    assert "forward: dec.surprise: the grammar does not know it" in done.stdout
    assert "dec.head: differs by" in done.stdout
    assert "2 failed" in done.stdout
