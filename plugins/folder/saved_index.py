"""The index that `prepare` writes, so that a training of millions of files need not look for them again."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import InstanceOf

from semivl_cli.data.contract import Split
from semivl_cli.documents import Document, parse_json
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import ABSENT, cache_folder, file_stamp, replacing, write_bytes

from .listing import Entry
from .split import Division

_VERSION = 1
_CHUNK = 2**20
"""Bytes of the index that are read at once."""

Name = InstanceOf[str]
"""What the system gives as the name of a file, which need not be UTF-8."""
_Row = tuple[Split, Name, Name, Name | None]
"""A line of the index: split, id, image, class map."""


class Header(Document):
    """The first line of an index: what it was made from."""

    version: int = _VERSION
    root: Name
    converted: bool = False
    """Whether the masks are conversions: class ids of `classes`, whatever `dataset.toml` says."""
    classes: Sequence[str] = ()
    elsewhere: bool = False
    """Whether images of other places are in it, which a look into the root alone would not find."""
    folders: Mapping[Name, int] = {}
    """Folder -> when its content changed last."""
    files: Mapping[Name, str] = {}
    """List, `dataset.toml`, or file that many masks were made from -> its size and time, nothing where it is absent.
    A file that one mask was made from stands in that mask."""
    sources: Sequence[Name] = ()
    """What was taken in with `--from`."""
    options: Mapping[Name, Name] = {}
    """Other options of the command that wrote it."""
    notes: Sequence[Name] = ()
    rows: int | None = None
    """Lines that follow; not known to earlier versions."""

    def stale(self) -> str | None:
        """Return what is newer than the index, if anything is: a folder with other files, a list, a source.

        No folder is listed for that.
        """
        for name, time in self.folders.items():
            try:
                if os.stat(name).st_mtime_ns != time:  # noqa: PTH116 - one call a folder, of which there may be many
                    return name
            except (OSError, ValueError):  # ValueError: a NUL in the name
                if time != ABSENT:
                    return name
        return next((name for name, stamp in self.files.items() if file_stamp(Path(name)) != stamp), None)

    def at(self, root: Path) -> Header:
        """Return the same of a root that has moved, with what lay in it when the command was given."""

        def now(name: str) -> str:
            path = Path(name)
            return str(root / path.relative_to(self.root)) if path.is_relative_to(self.root) else name

        options = {option: now(value) for option, value in self.options.items()}
        return self.model_copy(
            update={"root": str(root), "options": options, "sources": [now(one) for one in self.sources]}
        )

    def renewal(self, definition: str | None = None) -> str:
        """Return the command that writes the index anew, to be pasted; `definition` takes the place of its own."""
        options = {"--root": self.root, **self.options, **({} if definition is None else {"--definition": definition})}
        words = [word for option in (*options.items(), *(("--from", one) for one in self.sources)) for word in option]
        return shlex.join(["semivl", "prepare", "data", "folder", *words])


class Index(NamedTuple):
    """An index on the disk."""

    path: Path
    header: Header

    def entries(self, root: Path, split: Split) -> Iterator[Entry]:
        """Yield the entries of a split; raises `InputError` where a line is no such, or lines are lacking."""
        try:
            with self.path.open("rb") as file:
                next(file)
                count = 0
                while lines := file.readlines(_CHUNK):
                    name = str(self.path) if not count else f"{self.path}, after line {count + 1}"
                    rows = parse_json(b"[" + b",".join(lines) + b"]", list[_Row], name)
                    count += len(rows)
                    yield from (
                        Entry(id_, root / image, None if mask is None else root / mask)
                        for part, id_, image, mask in rows
                        if part == split
                    )
            if self.header.rows not in (None, count):
                raise InputError(f"{self.path}: expected {self.header.rows} images, found {count}")
        except (OSError, InputError) as error:
            raise _damaged(self.path, error, self.header.renewal()) from error


def index_folders(root: Path) -> tuple[Path, Path]:
    """Return where index and converted masks may lie: below the root, and in the cache where that is read-only."""
    digest = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    return root / "prepared", cache_folder("folder") / digest


def writable_folder(root: Path) -> Path:
    """Make and return the first of these folders that can be written; raises `RunError` if neither can."""
    reason = ""
    folders = index_folders(root)
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            return folder
    raise RunError(f"neither {folders[0]} nor {folders[1]} can be written ({reason})")


def find_index(root: Path) -> Index | None:
    """Return the index of a root, or nothing where `prepare` has not written one."""
    for index in _indexes(root):
        if index.header.root == str(root.resolve()):
            return index
    return None


def moved_from(root: Path) -> Header | None:
    """Return what was made of a root that lay elsewhere, and is no more than its own files show; with its names now."""
    for _, header in _indexes(root):
        if header.root != str(root.resolve()) and (header.converted or header.elsewhere):
            return header.at(root)
    return None


def _indexes(root: Path) -> Iterator[Index]:
    for folder in index_folders(root):
        path = folder / "index.jsonl"
        try:
            with path.open("rb") as file:
                header = parse_json(file.readline(), Header, str(path))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, InputError) as error:
            raise _damaged(path, error, Header(root=str(root)).renewal()) from error
        if header.version == _VERSION:
            yield Index(path, header)


def write_index(folder: Path, root: Path, header: Header, division: Division) -> dict[str, int]:
    """Write the index, line by line and under a temporary name until it is whole; returns images a split.

    Raises:
        RunError: if the disk is full.
    """
    counts = {"train": 0, "val": 0}
    room = len(_first_line(header, 10**12))
    try:
        with replacing(folder / "index.jsonl") as temporary, temporary.open("w", encoding="utf-8") as file:
            print(" " * room, file=file)
            for split, entries in (("train", division.train()), ("val", iter(division.val))):
                for entry in entries:
                    mask = None if entry.mask is None else _relative(entry.mask, root)
                    line = json.dumps([split, entry.id, _relative(entry.image, root), mask])
                    print(line, file=file)
                    counts[split] += 1
            file.seek(0)
            file.write(_first_line(header, sum(counts.values())).ljust(room))
        ids = "".join(f"{entry.id}\n" for entry in division.val)
        write_bytes(folder / "val.txt", ids.encode(errors="surrogateescape"))
    except OSError as error:
        raise RunError(f"{folder / 'index.jsonl'}: cannot be written ({error.strerror or error})") from error
    return counts


def _first_line(header: Header, rows: int) -> str:
    return json.dumps({**header.model_dump(), "rows": rows})


def _damaged(path: Path, error: Exception, renewal: str) -> InputError:
    said = str(error).removeprefix(str(path)).lstrip(",: ")
    return InputError(f"{path}: the index cannot be read ({said}): `{renewal}` writes it anew")


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path.absolute())
