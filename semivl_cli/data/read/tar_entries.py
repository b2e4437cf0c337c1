"""Reads files inside tar shards where they lie: each process opens a shard once and unpacks nothing."""

from __future__ import annotations

import functools
import os
import threading
from pathlib import Path

from semivl_cli.data.contract import TarEntry
from semivl_cli.errors import InputError


def read_entry(entry: TarEntry) -> bytes:
    """Return the bytes of a file in a shard, also to threads at once; raises `InputError` if they are not there."""
    try:
        data = _shard(entry.shard).read(entry.offset, entry.size)
    except OSError as error:
        raise InputError(f"{entry}: the shard cannot be read ({error.strerror})") from error
    if len(data) < entry.size:
        raise InputError(f"{entry}: the shard ends {entry.size - len(data)} bytes too early")
    return data


class _Shard:
    """An open shard, closed when nobody reads it any more."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, size, offset)
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, size)


_shard = functools.lru_cache(maxsize=64)(_Shard)
