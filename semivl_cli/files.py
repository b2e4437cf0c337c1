"""Writes files so that neither a kill, a full disk nor a power cut leaves half of one behind."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from semivl_cli.errors import RunError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a full or broken disk raises while `path` is written into one line.

    Raises:
        RunError: the file cannot be written; the run stands at its last checkpoint.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RunError(
            f"cannot write {path} ({reason}): the run stands at its last checkpoint; make room, then semivl train "
            "--resume goes on from there"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        RunError: it cannot be written; what was there before is as it was.
    """
    temporary = path.with_name(f".{path.name}.part")
    with writing(path):
        try:
            temporary.write_text(text, encoding="utf-8", newline="\n")
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all; raises `RunError` as `write_text` does."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def append_line(path: Path, line: str) -> None:
    """Append a line, whole or not at all; raises `RunError` where it cannot be written."""
    with writing(path), path.open("ab") as file:
        before = file.tell()
        try:
            file.write(line.encode() + b"\n")
            file.flush()
        except OSError:
            os.truncate(path, before)
            raise


def move_folder(temporary: Path, target: Path) -> None:
    """Give a folder of finished files its name, once the disk really holds them; raises `OSError`."""
    for path in temporary.iterdir():
        sync(path)
    sync(temporary)
    temporary.replace(target)
    sync(target.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder that others may take for complete: it loses its name first, so that it is there or gone."""
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    folder.replace(temporary)
    shutil.rmtree(temporary)


def sweep(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder."""
    for path in folder.glob(".*"):
        if path.suffix in (".part", ".tmp"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def sync(path: Path) -> None:
    """Wait until the disk holds a file, or the names in a folder; raises `OSError`."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders, and keeps names without being asked
    number = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
