"""A run wants a directory of its own, and takes over what a start left that was killed."""

import pytest

from semivl_cli.engine.rundir.layout import check_free
from semivl_cli.errors import InputError


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize("names", [(), (".lock",), (".lock", "definition.toml", "split.json"), (".lock", ".0.part")])
def test_an_empty_directory_and_what_a_killed_start_left_are_free(tmp_path, names):
    make(tmp_path, *names)
    check_free(tmp_path)
    check_free(tmp_path / "absent")


@pytest.mark.parametrize(
    "names", [("notes.txt",), (".lock", "notes.txt"), ("definition.toml",), ("checkpoints/1/done.json",)]
)
def test_files_of_others_are_not_written_over(tmp_path, names):
    make(tmp_path, *names)
    with pytest.raises(InputError, match="holds other files: a run wants a directory of its own"):
        check_free(tmp_path)


def test_a_run_is_not_written_over(tmp_path):
    make(tmp_path, "run.toml", "definition.toml")
    with pytest.raises(InputError, match="already holds a run: go on with --resume, or give another --out"):
        check_free(tmp_path)
