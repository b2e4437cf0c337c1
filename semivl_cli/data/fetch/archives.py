"""Unpacks tar and zip archives of strangers: all or nothing, nothing outside the folder, no links.

`tarfile` and `zipfile` refuse or quietly rename an evil entry while they write; here the whole archive is looked
at before the first byte is written, and only plain files are.
"""

from __future__ import annotations

import errno
import lzma
import os
import posixpath
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import IO, NamedTuple

from semivl_cli.data.contract import Say
from semivl_cli.data.fetch.progress_lines import Pace, in_bytes
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import FULL, blocks, replacing

MAX_FILES = 1_000_000
MAX_GROWTH = 100
"""An archive may unpack to so many times its own size, or to `SMALL`; what grows more is a bomb."""
SMALL = 2**30

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, ValueError,
           NotImplementedError, RuntimeError, OverflowError)  # fmt: skip


class _File(NamedTuple):
    """A file of an archive."""

    size: int
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, report: Say, *, known: Sequence[str] = ()) -> int:
    """Unpack a tar (also .gz, .bz2, .xz) or zip archive into a folder, which need not exist; return how much was new.

    A file that is there already stays as it is. Links become copies of what they name. Hidden files of macOS are left
    out. Until the last file is unpacked, everything lies in a hidden folder inside `folder`, which is removed if
    anything goes wrong. Of `known` the archive must hold at least one name, as folder or file.

    Raises:
        InputError: the archive is damaged, is not one, holds none of `known`, or holds something that would leave the
            folder, a device, or far more than its size can justify.
        RunError: the disk is full.
    """
    with _in_one_line(archive), ExitStack() as stack:
        files = _list_files(archive, stack)
        if known and not any(name in path.split("/") for path in files for name in known):
            raise InputError(f"{archive}: holds none of {', '.join(known)}: is it the right archive?")
        total = sum(file.size for file in files.values())
        there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        free = shutil.disk_usage(there).free
        if total > free:
            raise RunError(
                f"unpacking {archive.name} needs {in_bytes(total)} in {folder}, where {in_bytes(free)} are free"
            )
        report(f"unpacking {archive.name}: {len(files)} files, {in_bytes(total)}")
        hidden = folder / f".{archive.name}.unpacking"
        shutil.rmtree(hidden, ignore_errors=True)  # of a process that was killed
        try:
            _write(files, hidden, Pace(report, f"unpacking {archive.name}"))
            return _move(files, hidden, folder)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)


def _list_files(archive: Path, stack: ExitStack) -> dict[str, _File]:
    """Return the files of an archive by path, after looking at each; a link stands for the file that it names."""
    limit = max(SMALL, MAX_GROWTH * archive.stat().st_size)
    if zipfile.is_zipfile(archive):
        found = _zip_entries(archive, stack.enter_context(zipfile.ZipFile(archive)))
    elif tarfile.is_tarfile(archive):
        found = _tar_entries(archive, stack.enter_context(tarfile.open(archive)))  # noqa: SIM115 - the stack closes it
    elif next(blocks(archive), b"").startswith(b"PK\3\4"):
        raise zipfile.BadZipFile("its end is missing")
    else:
        raise InputError(f"{archive}: expected a tar or zip archive")
    entries: dict[str, _File | str] = {}
    total = 0
    for count, (path, entry) in enumerate(found, 1):
        total += entry.size if isinstance(entry, _File) else 0
        if total > limit or count > MAX_FILES:
            raise InputError(
                f"{archive}: {in_bytes(archive.stat().st_size)} that unpack to more than "
                f"{f'{MAX_FILES} files' if count > MAX_FILES else in_bytes(limit)}: refused"
            )
        if not path:
            raise InputError(f"{archive}: a file has no name: refused")
        name = posixpath.basename(path)
        if not (path.startswith("__MACOSX/") or name == ".DS_Store" or name.startswith("._")):  # of macOS
            entries[path] = entry
    if not entries:
        raise InputError(f"{archive}: the archive holds no file")
    for path in entries:
        if any(parent in entries for parent in accumulate(path.split("/")[:-1], posixpath.join)):
            raise InputError(f"{archive}: {path!r} lies inside something that is a file")
    files = {path: _linked_file(archive, entries, path) for path in entries}
    if sum(file.size for file in files.values()) > limit:  # copies of links count
        raise InputError(f"{archive}: its links unpack to more than {in_bytes(limit)}: refused")
    return files


def _tar_entries(archive: Path, tar: tarfile.TarFile) -> Iterator[tuple[str, _File | str]]:
    """Yield the path of each entry that is no folder, and the file; or where a link leads, from the archive's root."""
    for info in tar:
        path = _inside(archive, info.name)
        if info.isdir():
            continue
        if info.issym() or info.islnk():
            near = posixpath.dirname(path) if info.issym() else ""
            yield path, _link_target(archive, path, near, info.linkname)
        elif info.isreg():
            yield path, _File(info.size, partial(tar.extractfile, info))
        else:
            raise InputError(f"{archive}: {info.name!r} is a device, a pipe or the like: refused")


def _zip_entries(archive: Path, packed: zipfile.ZipFile) -> Iterator[tuple[str, _File | str]]:
    """Yield as `_tar_entries` does."""
    for info in packed.infolist():
        path = _inside(archive, info.filename)
        kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0  # 3: written on Unix
        if info.flag_bits & 1:
            raise InputError(f"{archive}: {info.filename!r} is encrypted: unpack the archive yourself")
        if info.is_dir():
            continue
        if kind == stat.S_IFLNK:
            if info.file_size > 4096:
                raise InputError(f"{archive}: {info.filename!r} is a link of {info.file_size} bytes: refused")
            yield path, _link_target(archive, path, posixpath.dirname(path), os.fsdecode(packed.read(info)))
        elif kind in (0, stat.S_IFREG):
            yield path, _File(info.file_size, partial(packed.open, info))
        else:
            raise InputError(f"{archive}: {info.filename!r} is a device, a pipe or the like: refused")


def _inside(archive: Path, name: str) -> str:
    """Return the path of an entry, with `/` between its parts, and refuse one that could leave the folder."""
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if plain.startswith("/") or re.match("[A-Za-z]:", plain) or ".." in parts or "\0" in plain:
        raise InputError(f"{archive}: {name!r} would be written outside the folder: refused, nothing was unpacked")
    return "/".join(parts)


def _link_target(archive: Path, path: str, near: str, link: str) -> str:
    """Return the entry that a link names, and refuse a link that leaves the archive."""
    target = posixpath.normpath(posixpath.join(near, link.replace("\\", "/")))
    if target.startswith(("/", "../")) or target == ".." or re.match("[A-Za-z]:", target):
        raise InputError(f"{archive}: {path!r} is a link that points out ({link}): refused, nothing was unpacked")
    return target


def _linked_file(archive: Path, entries: Mapping[str, _File | str], path: str) -> _File:
    """Return the file whose content stands at `path`, through links to links."""
    entry, seen = entries[path], {path}
    while isinstance(entry, str):
        if entry in seen or entry not in entries:
            raise InputError(f"{archive}: {path!r} is a link to {entry!r}, which is no file in the archive")
        seen.add(entry)
        entry = entries[entry]
    return entry


def _write(files: Mapping[str, _File], hidden: Path, pace: Pace) -> None:
    for number, (path, (size, open_)) in enumerate(files.items(), 1):
        target = hidden / path
        target.parent.mkdir(parents=True, exist_ok=True)
        source = open_()
        assert source is not None, f"{path} is a plain file"
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 2**20)
            if file.tell() != size:
                raise EOFError(f"{path} has {file.tell()} bytes instead of {size}")
        pace.step(number, len(files))


def _move(paths: Iterable[str], hidden: Path, folder: Path) -> int:
    """Move files to where they belong and return how many were new."""
    new = 0
    for path in paths:
        target = folder / path
        if os.path.lexists(target):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            (hidden / path).replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with replacing(target) as beside:  # a folder of the user's that lies on another disk
                shutil.copyfile(hidden / path, beside)
        new += 1
    return new


@contextmanager
def _in_one_line(archive: Path) -> Iterator[None]:
    """Turn whatever a reader or the disk raises into one line."""
    try:
        yield
    except (OSError, *_DAMAGE) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, OSError):
            raise InputError(f"{archive}: the archive is damaged ({reason}): fetch it again") from error
        if error.errno in FULL:
            raise RunError(
                f"{archive.name} could not be unpacked: the disk is full; nothing was left behind"
            ) from error
        raise InputError(f"{archive}: cannot be unpacked ({reason})") from error
