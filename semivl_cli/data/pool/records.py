"""Keeps records as bytes, in memory or in a file that all processes map: a hundred million of them take no objects."""

from __future__ import annotations

import hashlib
import json
import mmap
import operator
import os
import struct
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import context, reduction
from pathlib import Path
from typing import Annotated, Any, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from semivl_cli.data.contract import Record
from semivl_cli.data.pool.record_rows import Rows, to_bytes, to_text
from semivl_cli.documents import Document, parse_json
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import FULL, replacing

_MAGIC = b"semivl records 1"
_BLOCK = 32
"""Rows between two entries of the table of where they start."""
_SPILL = 16 * 2**20
"""Bytes above which rows go to a file that has no name and ends with the last process that maps it."""
_SORTED_IDS = 1_000_000
"""Ids up to which their digest is that of the sorted list; more are summed, which needs no sorting."""


class _About(Document):
    """What stands behind the rows."""

    rows: Annotated[int, Field(ge=0)]
    """Their bytes."""
    count: Annotated[int, Field(ge=0)]
    labeled: Annotated[int, Field(ge=0)]
    base: str
    shards: list[str]
    sum: Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]
    """Of the SHA-256 of all ids, modulo 2^256."""


class Listed(Sequence[Record]):
    """Records that are made when they are asked for: who knows their number and makes one is a sequence of them."""

    @abstractmethod
    def _at(self, number: int) -> Record:
        """Return a record by its number, which is one of `0..len(self) - 1`."""

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Record, ...]: ...
    def __getitem__(self, index: int | slice) -> Record | tuple[Record, ...]:
        if isinstance(index, slice):
            return tuple(self[number] for number in range(*index.indices(len(self))))
        number = operator.index(index)
        number += len(self) if number < 0 else 0
        if not 0 <= number < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return self._at(number)


class Records(Listed):
    """An immutable sequence of records; `Records.of` makes one from a stream, `save` and `open` keep it in a file.

    The bytes: rows (`Rows`) in blocks of 32, each after its length as uint32; then as little-endian uint64 where each
    block starts, the numbers of the records that have a label, and the first 8 bytes of the SHA-256 of each id, sorted;
    then a JSON object (`rows`: their bytes, `count`, `labeled`, `base`, `shards`, `sum`: of the SHA-256 of all ids,
    modulo 2^256), its length as uint64, and a magic word.
    """

    def __init__(self, data: bytes | mmap.mmap, functions: Sequence[Callable[[], NDArray[np.uint8]]] = ()) -> None:
        self._data = data
        self._path: Path | None = None
        self._descriptor: int | None = None
        end = len(data) - len(_MAGIC) - 8
        if end < 0 or data[end + 8 :] != _MAGIC:
            raise ValueError("these are no records, or not all of them")
        length = int.from_bytes(data[end : end + 8], "little")
        try:
            about = parse_json(data[max(end - length, 0) : end], _About, "records")
        except InputError as error:
            raise ValueError("these are no records, or not all of them") from error
        self._count = about.count
        shards = (Path(to_text(shard.encode("latin-1"))) for shard in about.shards)
        self._rows = Rows(Path(to_text(about.base.encode("latin-1"))), shards, functions)
        self._sum = int(about.sum, 16)
        blocks = -(-self._count // _BLOCK)
        tables = (blocks, about.labeled, self._count)
        start = end - length - 8 * sum(tables)
        if start != about.rows:
            raise ValueError("these are no records, or not all of them")
        numbers = np.frombuffer(data, "<u8", sum(tables), start)
        self._starts, self.labeled, self.hashes = np.split(numbers, np.cumsum(tables)[:-1])
        if (self._starts >= start).any() or (self.labeled >= self._count).any():
            raise ValueError("these are no records, or not all of them")

    labeled: NDArray[np.uint64]
    """Numbers of the records that have a label, rising."""
    hashes: NDArray[np.uint64]
    """`id_hash` of all ids, sorted."""

    @classmethod
    def of(cls, records: Iterable[Record], base: Path) -> Records:
        """Keep a stream of records; paths below `base` take fewer bytes.

        Raises:
            InputError: if a path holds a NUL.
            RunError: if there is no room for them in the folder of temporary files.
        """
        with tempfile.SpooledTemporaryFile(max_size=_SPILL) as file:
            try:
                return _written(records, base, file)
            except OSError as error:
                if error.errno not in FULL:
                    raise
                raise RunError(
                    f"{tempfile.gettempdir()} has no room for the list of images ({error.strerror}): "
                    "set TMPDIR to a folder that has"
                ) from error

    @classmethod
    def open(cls, path: Path, base: Path | None = None) -> Records:
        """Map the file that `save` wrote; `base`: where the files below it lie by now.

        Raises:
            OSError: if it cannot be read.
            ValueError: if it is not whole.
        """
        with path.open("rb") as file:
            records = cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        records._path = path
        if base is not None:
            records._rows = Rows(base, records._rows.shards)
        return records

    def save(self, path: Path) -> None:
        """Write a file, whole or not at all; functions cannot be written."""
        if self._rows.functions:
            raise ValueError("a function cannot be kept in a file")
        with replacing(path) as temporary:
            temporary.write_bytes(self._data)

    def __len__(self) -> int:
        return self._count

    def _at(self, number: int) -> Record:
        start = int(self._starts[number // _BLOCK])
        for _ in range(number % _BLOCK):
            start = self._row(start)[1]
        return self._record(start)[0]

    def __iter__(self) -> Iterator[Record]:
        start = 0
        for _ in range(self._count):
            record, start = self._record(start)
            yield record

    def __reduce__(self) -> tuple[Any, ...]:
        if self._path is not None:
            return Records.open, (self._path, Path(self._rows.base))
        if self._descriptor is not None and hasattr(context.get_spawning_popen(), "duplicate_for_child"):
            return _mapped, (reduction.DupFd(self._descriptor), self._rows.functions)
        return Records, (bytes(self._data), self._rows.functions)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)  # type: ignore[arg-type]  # just asked

    def first_repeated(self) -> Record | None:
        """Return the first record whose id an earlier one has; where all ids differ, no record is looked at."""
        alike = set(self.hashes[1:][self.hashes[1:] == self.hashes[:-1]].tolist())
        seen: set[str] = set()
        for record in self if alike else ():
            if record.id in seen:
                return record
            if id_hash(record.id) in alike:
                seen.add(record.id)
        return None

    def digest(self, without: Sequence[Record] = ()) -> str:
        """Return the SHA-256 that stands for all ids but those of some of the records, in whatever order."""
        if self._count - len(without) <= _SORTED_IDS:
            out = {record.id for record in without}
            return digest_of_ids(record.id for record in self if record.id not in out)
        rest = self._sum - sum(int.from_bytes(_sha256(record.id), "little") for record in without)
        return hashlib.sha256(f"{self._count - len(without)} {rest % 2**256:x}".encode()).hexdigest()

    def _record(self, start: int) -> tuple[Record, int]:
        """Return the record whose row starts there, and where the next one starts."""
        row, end = self._row(start)
        try:
            return self._rows.unpack(self._data[row:end]), end
        except (ValueError, LookupError) as error:
            raise self._damaged(start) from error

    def _row(self, start: int) -> tuple[int, int]:
        """Return where the bytes of a row start, and where they end."""
        try:
            return start + 4, start + 4 + struct.unpack_from("<I", self._data, start)[0]
        except struct.error as error:
            raise self._damaged(start) from error

    def _damaged(self, start: int) -> InputError:
        return InputError(f"{self._path or 'the list of images'}: damaged at byte {start}: delete it, it is made again")


def _written(records: Iterable[Record], base: Path, file: tempfile.SpooledTemporaryFile[bytes]) -> Records:
    """Write rows one after the other, then what stands behind them; returns all as records."""
    rows = Rows(base)
    starts: list[int] = []
    labeled: list[int] = []
    hashes = bytearray()
    written = count = total = 0
    for record in records:
        row = rows.pack(record)
        if count % _BLOCK == 0:
            starts.append(written)
        if record.label is not None:
            labeled.append(count)
        digest = _sha256(record.id)
        hashes += digest[:8]
        total += int.from_bytes(digest, "little")
        file.write(len(row).to_bytes(4, "little") + row)
        written += 4 + len(row)
        count += 1
    sorted_hashes = np.frombuffer(hashes, "<u8")
    sorted_hashes.sort()
    about = {
        "rows": written,
        "count": count,
        "labeled": len(labeled),
        "base": to_bytes(rows.base).decode("latin-1"),
        "shards": [to_bytes(str(shard)).decode("latin-1") for shard in rows.shards],
        "sum": f"{total % 2**256:x}",
    }
    text = json.dumps(about).encode()
    for table in (np.array(starts, "<u8"), np.array(labeled, "<u8"), sorted_hashes):
        file.write(table.tobytes())
    file.write(text + len(text).to_bytes(8, "little") + _MAGIC)
    size = file.tell()
    if size <= _SPILL:
        file.seek(0)
        return Records(file.read(), rows.functions)
    file.flush()
    mapped = Records(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), rows.functions)
    mapped._descriptor = os.dup(file.fileno())
    return mapped


def id_hash(record_id: str) -> int:
    """Return the first 8 bytes of the SHA-256 of an id: equal ids have equal ones, and hardly any others."""
    return int.from_bytes(_sha256(record_id)[:8], "little")


def digest_of_ids(ids: Iterable[str]) -> str:
    """Return the SHA-256 of the sorted ids, one a line."""
    return hashlib.sha256(to_bytes("\n".join(sorted(ids)))).hexdigest()


def _mapped(file: Any, functions: Sequence[Callable[[], NDArray[np.uint8]]]) -> Records:  # noqa: ANN401 - a DupFd
    """Map, in a process that was just started, the file that its parent maps."""
    with os.fdopen(file.detach(), "rb") as handle:
        return Records(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ), functions)


def _sha256(record_id: str) -> bytes:
    return hashlib.sha256(to_bytes(record_id)).digest()
