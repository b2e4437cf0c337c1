"""The index that `prepare` writes, so that a training of millions of files need not look for them again."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from semivl_cli.data.contract import Split
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import ABSENT, cache_folder, replacing, write_bytes

from .listing import Entry
from .split import Division

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Header:
    """The first line of an index: what it was made from."""

    version: int = _VERSION
    root: str
    converted: bool = False
    """Whether the masks are conversions: class ids of `classes`, whatever `dataset.toml` says."""
    classes: Sequence[str] = ()
    elsewhere: bool = False
    """Whether images of other places are in it, which a look into the root alone would not find."""
    folders: Mapping[str, int] = field(default_factory=dict)
    """Folder -> when its content changed last."""
    files: Mapping[str, str] = field(default_factory=dict)
    """List, `dataset.toml`, or source -> its size and time, nothing where it is absent."""
    sources: Sequence[str] = ()
    """What was taken in with `--from`."""
    notes: Sequence[str] = ()

    def stale(self) -> str | None:
        """Return what is newer than the index, if anything is: a folder with other files, a list, a source.

        No folder is listed for that. A file that was rewritten in place, under its name, changes no index.
        """
        for name, time in self.folders.items():
            try:
                if os.stat(name).st_mtime_ns != time:  # noqa: PTH116 - one call a folder, of which there may be many
                    return name
            except OSError:
                if time != ABSENT:
                    return name
        return next((name for name, stamp in self.files.items() if file_stamp(Path(name)) != stamp), None)


class Index(NamedTuple):
    """An index on the disk."""

    path: Path
    header: Header

    def entries(self, root: Path, split: Split) -> Iterator[Entry]:
        """Yield the entries of a split, line by line."""
        with self.path.open(encoding="utf-8") as file:
            next(file)
            for line in file:
                part, name, image, mask = json.loads(line)
                if part == split:
                    yield Entry(name, root / image, None if mask is None else root / mask)


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


def file_stamp(path: Path) -> str:
    """Return size and time of a file, or nothing where there is none."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{state.st_size}-{state.st_mtime_ns}" if path.is_file() else "folder"


def find_index(root: Path) -> Index | None:
    """Return the index of a root, or nothing where `prepare` has not written one."""
    for folder in index_folders(root):
        path = folder / "index.jsonl"
        try:
            with path.open(encoding="utf-8") as file:
                content = json.loads(file.readline())
            if content.get("version") == _VERSION and content.get("root") == str(root.resolve()):
                return Index(path, Header(**content))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: the index cannot be read ({error}): `semivl prepare data folder` writes it anew"
            ) from error
    return None


def write_index(folder: Path, root: Path, header: Header, division: Division) -> dict[str, int]:
    """Write the index, line by line and under a temporary name until it is whole; returns images a split.

    Raises:
        RunError: if the disk is full.
    """
    counts = {"train": 0, "val": 0}
    try:
        with replacing(folder / "index.jsonl") as temporary, temporary.open("w", encoding="utf-8") as file:
            print(json.dumps(asdict(header)), file=file)
            for split, entries in (("train", division.train()), ("val", iter(division.val))):
                for entry in entries:
                    mask = None if entry.mask is None else _relative(entry.mask, root)
                    line = json.dumps([split, entry.id, _relative(entry.image, root), mask])
                    print(line, file=file)
                    counts[split] += 1
        ids = "".join(f"{entry.id}\n" for entry in division.val)
        write_bytes(folder / "val.txt", ids.encode(errors="surrogateescape"))
    except OSError as error:
        raise RunError(f"{folder / 'index.jsonl'}: cannot be written ({error.strerror or error})") from error
    return counts


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path.absolute())
