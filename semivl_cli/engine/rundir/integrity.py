"""Whether a checkpoint still holds the bytes that were written, and which is the newest one that does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from semivl_cli.engine.rundir.layout import CHECKPOINTS, checkpoint_folder
from semivl_cli.errors import InputError
from semivl_cli.files import hash_file

MODEL, TRAINING, STATE = FILES = ("model.safetensors", "training.safetensors", "state.json")
"""What a complete checkpoint holds besides its seal."""
_SEAL = "done.json"


def seal(folder: Path, step: int) -> None:
    """Write `done.json`, the last file of a checkpoint: its step and the SHA-256 of all others."""
    hashes = {name: hash_file(folder / name) for name in FILES}
    (folder / _SEAL).write_text(json.dumps({"step": step, "sha256": hashes}), encoding="utf-8")


def checkpoint_steps(run: Path) -> list[int]:
    """Steps of the checkpoints of a run, oldest first; a folder has its number once it is complete.

    Its files may have been damaged since.
    """
    return sorted(int(path.name) for path in (run / CHECKPOINTS).glob("[0-9]*") if path.name.isdigit())


def damage(folder: Path, files: Sequence[str] = FILES) -> str | None:
    """Say what is wrong with a checkpoint; `None`: each of `files` has the bytes that were written."""
    try:
        sealed = json.loads((folder / _SEAL).read_text(encoding="utf-8"))
        hashes = sealed.get("sha256", {})  # none in a checkpoint of an earlier version
        for name in files:
            if not (folder / name).is_file():
                return f"{name} is missing"
            if name in hashes and hash_file(folder / name) != hashes[name]:
                return f"{name} does not hold the bytes that were written"
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read: {error.strerror}"
    except (ValueError, AttributeError):
        return f"{_SEAL} is damaged"
    return None


def first_sound(run: Path, steps: Iterable[int], files: Sequence[str] = FILES) -> tuple[int, dict[int, str]]:
    """Return the first of `steps` whose checkpoint is undamaged, and what is wrong with those before it.

    Raises:
        InputError: all of them are damaged.
    """
    broken: dict[int, str] = {}
    for step in steps:
        wrong = damage(checkpoint_folder(run, step), files)
        if wrong is None:
            return step, broken
        broken[step] = wrong
    what = ", ".join(f"{step} ({wrong})" for step, wrong in broken.items())
    raise InputError(
        f"no checkpoint of {run} can be used: {what}; put back a copy of one, or delete {run / CHECKPOINTS} to train "
        "again from step 0"
    )
