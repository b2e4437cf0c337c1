"""Reads lists of image ids, one a line; light enough for plugins."""

from __future__ import annotations

from pathlib import Path

from semivl_cli.errors import InputError


def read_ids(path: Path) -> tuple[str, ...]:
    """Read the ids of a list; blank lines, CRLF and a byte-order mark are fine.

    Raises:
        InputError: if the file cannot be read as text, or names an id twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a text file of ids, one a line ({error})") from error
    ids = tuple(line.strip() for line in lines if line.strip())
    if len(set(ids)) < len(ids):
        twice = next(name for index, name in enumerate(ids) if name in ids[:index])
        raise InputError(f"{path}: {len(ids) - len(set(ids))} ids are listed twice, the first is {twice!r}")
    return ids
