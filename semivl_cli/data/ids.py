"""Reads lists of image ids, one a line; light enough for plugins."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

from semivl_cli.documents import decode_text, read_bytes
from semivl_cli.errors import InputError


def read_ids(path: Path) -> tuple[str, ...]:
    """Read the ids of a list; blank lines, CRLF and a byte-order mark are fine.

    Raises `InputError` where the file cannot be read as text, or names an id twice.
    """
    try:
        lines = decode_text(read_bytes(path), str(path)).splitlines()
    except InputError as error:
        raise InputError(f"{error}: expected a text file of ids, one a line") from error
    ids = tuple(line.strip() for line in lines if line.strip())
    if len(set(ids)) < len(ids):
        twice = next(name for name, times in Counter(ids).items() if times > 1)
        raise InputError(f"{path}: {len(ids) - len(set(ids))} ids are listed twice, the first is {twice!r}")
    return ids


def composed(name: str) -> str:
    """Return a name with its accents composed: macOS keeps names decomposed, which look the same and are not equal."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)
