"""A record as a row of bytes, and back: the images and labels that millions of records name take no objects."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import Record, Source, TarEntry
from semivl_cli.errors import InputError

_ID = "\x01"
"""Stands for the id within a path."""


class Rows:
    """What rows leave out since many share it: a folder, the shards, the functions.

    A row is image, label and id with a NUL between them, UTF-8 with surrogates. An image or label is empty (none), `.`
    and a path below `base`, `:` and such a path in which the byte 1 stands for the id, `/` and any other path, `@` and
    number of shard, offset and size, or `(` and the number of a function, which files cannot hold.
    """

    def __init__(
        self, base: Path, shards: Iterable[Path] = (), functions: Iterable[Callable[[], NDArray[np.uint8]]] = ()
    ) -> None:
        self.base = os.path.join(str(base), "")  # noqa: PTH118 - a Path drops the separator at the end
        self.shards, self.functions = list(shards), list(functions)
        self._numbers = {shard: number for number, shard in enumerate(self.shards)}

    def pack(self, record: Record) -> bytes:
        """Return the row of a record; raises `InputError` where a path holds a NUL."""
        label = b"" if record.label is None else self._packed(record.label, record.id)
        return b"\0".join((self._packed(record.image, record.id), label, to_bytes(record.id)))

    def unpack(self, row: bytes) -> Record:
        """Return the record of a row."""
        image, label, name = row.split(b"\0", 2)
        record_id = to_text(name)
        source = self._unpacked(image, record_id)
        if source is None:
            raise ValueError("every row has an image")
        return Record(id=record_id, image=source, label=self._unpacked(label, record_id))

    def _packed(self, source: Source, record_id: str) -> bytes:
        if isinstance(source, TarEntry):
            number = self._numbers.setdefault(source.shard, len(self.shards))
            if number == len(self.shards):
                self.shards.append(source.shard)
            return b"@%d %d %d" % (number, source.offset, source.size)
        if not isinstance(source, Path):
            self.functions.append(source)
            return b"(%d" % (len(self.functions) - 1)
        path = str(source)
        if "\0" in path:
            raise InputError(f"{path!r}: a path cannot hold a NUL")
        if not path.startswith(self.base):
            return b"/" + to_bytes(path)
        below = path[len(self.base) :]
        if record_id and record_id in below and _ID not in below:
            return b":" + to_bytes(below.replace(record_id, _ID, 1))
        return b"." + to_bytes(below)

    def _unpacked(self, packed: bytes, record_id: str) -> Source | None:
        kind, rest = packed[:1], packed[1:]
        if not kind:
            return None
        if kind == b"(":
            return self.functions[int(rest)]
        if kind == b"@":
            shard, offset, size = map(int, rest.split())
            return TarEntry(shard=self.shards[shard], offset=offset, size=size)
        path = to_text(rest)
        if kind == b":":
            path = path.replace(_ID, record_id, 1)
        return Path(path if kind == b"/" else self.base + path)


def to_bytes(text: str) -> bytes:
    """Return UTF-8; names of files that are no UTF-8 come back as they were."""
    return text.encode("utf-8", "surrogatepass")


def to_text(packed: bytes) -> str:
    """Return what `to_bytes` made bytes of."""
    return packed.decode("utf-8", "surrogatepass")
