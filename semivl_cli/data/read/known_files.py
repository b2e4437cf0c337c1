"""Finds copies of image files by their content, reading no more files than have the same length."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from semivl_cli.data.contract import TarEntry
from semivl_cli.data.read.tar_entries import read_entry
from semivl_cli.files import hash_file
from semivl_cli.processes import in_threads

File = Path | TarEntry
"""What an image is read from, unless it is rendered."""


def content_hash(file: File) -> bytes:
    """Return the SHA-256 of the bytes of a file."""
    if isinstance(file, TarEntry):
        return hashlib.sha256(read_entry(file)).digest()
    return bytes.fromhex(hash_file(file))


class KnownFiles:
    """Files of which copies are looked for."""

    def __init__(self, files: Iterable[File]) -> None:
        self._by_length: dict[int, list[File]] = {}
        self._by_content: dict[int, dict[bytes, File]] = {}
        for file in files:
            self._by_length.setdefault(_length(file), []).append(file)

    def read_all(self) -> None:
        """Read all of them now, so that no process that gets a copy of this reads them again."""
        for _ in in_threads(self._contents, self._by_length):
            pass

    def twin(self, file: File) -> File | None:
        """Return the known file that another one is a copy of, byte for byte; an absent file is none."""
        try:
            length = _length(file)
        except OSError:  # whoever reads it says so
            return None
        return self._contents(length).get(content_hash(file)) if length in self._by_length else None

    def _contents(self, length: int) -> dict[bytes, File]:
        if length not in self._by_content:
            self._by_content[length] = {content_hash(file): file for file in self._by_length[length]}
        return self._by_content[length]


def _length(file: File) -> int:
    return file.stat().st_size if isinstance(file, Path) else file.size
