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
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from semivl_cli.data.fetch.pace import Pace, in_bytes
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import FULL, replacing

MAX_FILES = 1_000_000
MAX_GROWTH = 100
"""An archive may unpack to so many times its own size, or to `SMALL`; what grows more is a bomb."""
SMALL = 2**30

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, ValueError,
           NotImplementedError, RuntimeError, OverflowError)  # fmt: skip
_MAX_LINK = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A file of an archive; `link` names the entry whose content it has, relative to the archive's root."""

    size: int
    open: Callable[[], IO[bytes]]
    link: str | None = None


def unpack(archive: Path, folder: Path, report: Callable[[str], None], *, known: Iterable[str] = ()) -> int:
    """Unpack an archive into a folder; a file that is there already stays as it is.

    Links become copies of what they name. Hidden files of macOS are left out. Until the last file is unpacked,
    everything lies in a hidden folder inside `folder`, which is removed if anything goes wrong.

    Args:
        archive: tar (also .gz, .bz2, .xz) or zip.
        folder: need not exist.
        report: takes a line about how far it is.
        known: names of which the archive must hold at least one, as folder or file.

    Returns:
        The number of new files.

    Raises:
        InputError: the archive is damaged, is not one, holds none of `known`, or holds something that would leave the
            folder, a device, or far more than its size can justify.
        RunError: the disk is full.
    """
    with _told(archive), ExitStack() as stack:
        entries = _look(archive, stack)
        known = tuple(known)
        if known and not any(name in path.split("/") for path in entries for name in known):
            raise InputError(f"{archive}: holds none of {', '.join(known)}: is it the right archive?")
        total = sum(_content(archive, entries, path).size for path in entries)
        _check_space(folder, total, f"unpacking {archive.name}")
        report(f"unpacking {archive.name}: {len(entries)} files, {in_bytes(total)}")
        hidden = folder / f".{archive.name}.unpacking"
        shutil.rmtree(hidden, ignore_errors=True)  # of a process that was killed
        try:
            _write(archive, entries, hidden, Pace(report, f"unpacking {archive.name}"))
            return _move(entries, hidden, folder)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)


def _look(archive: Path, stack: ExitStack) -> dict[str, _Entry]:
    """Return the files of an archive by path, after looking at each of them."""
    limit = max(SMALL, MAX_GROWTH * archive.stat().st_size)
    if zipfile.is_zipfile(archive):
        found = _zip_entries(archive, stack.enter_context(zipfile.ZipFile(archive)))
    elif tarfile.is_tarfile(archive):
        found = _tar_entries(archive, stack.enter_context(tarfile.open(archive)))  # noqa: SIM115 - the stack closes it
    elif _begins_as_zip(archive):
        raise zipfile.BadZipFile("its end is missing")
    else:
        raise InputError(f"{archive}: expected a tar or zip archive")
    entries: dict[str, _Entry] = {}
    total = 0
    for count, (path, entry) in enumerate(found, 1):
        total += entry.size
        if total > limit or count > MAX_FILES:
            raise InputError(
                f"{archive}: {in_bytes(archive.stat().st_size)} that unpack to more than "
                f"{f'{MAX_FILES} files' if count > MAX_FILES else in_bytes(limit)}: refused"
            )
        if not path:
            raise InputError(f"{archive}: a file has no name: refused")
        if not _is_junk(path):
            entries[path] = entry
    if not entries:
        raise InputError(f"{archive}: the archive holds no file")
    for path in entries:
        if any(parent in entries for parent in _parents(path)):
            raise InputError(f"{archive}: {path!r} lies inside something that is a file")
    if sum(_content(archive, entries, path).size for path in entries) > limit:  # copies of links count
        raise InputError(f"{archive}: its links unpack to more than {in_bytes(limit)}: refused")
    return entries


def _tar_entries(archive: Path, tar: tarfile.TarFile) -> Iterator[tuple[str, _Entry]]:
    for info in tar:
        path = _inside(archive, info.name)
        if info.isdir():
            continue
        if info.issym() or info.islnk():
            near = posixpath.dirname(path) if info.issym() else ""
            target = _link_target(archive, path, near, info.linkname)
            yield path, _Entry(size=0, open=_never, link=target)
        elif info.isreg():
            yield path, _Entry(size=info.size, open=partial(_tar_file, tar, info))
        else:
            raise InputError(f"{archive}: {info.name!r} is a device, a pipe or the like: refused")


def _begins_as_zip(archive: Path) -> bool:
    with archive.open("rb") as file:
        return file.read(4) == b"PK\3\4"


def _zip_entries(archive: Path, packed: zipfile.ZipFile) -> Iterator[tuple[str, _Entry]]:
    for info in packed.infolist():
        path = _inside(archive, info.filename)
        kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0  # 3: written on Unix
        if info.flag_bits & 1:
            raise InputError(f"{archive}: {info.filename!r} is encrypted: unpack the archive yourself")
        if info.is_dir():
            continue
        if kind == stat.S_IFLNK:
            if info.file_size > _MAX_LINK:
                raise InputError(f"{archive}: {info.filename!r} is a link of {info.file_size} bytes: refused")
            target = _link_target(archive, path, posixpath.dirname(path), os.fsdecode(packed.read(info)))
            yield path, _Entry(size=0, open=_never, link=target)
        elif kind in (0, stat.S_IFREG):
            yield path, _Entry(size=info.file_size, open=partial(packed.open, info))
        else:
            raise InputError(f"{archive}: {info.filename!r} is a device, a pipe or the like: refused")


def _tar_file(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(info)
    assert file is not None, f"{info.name} is a plain file"
    return file


def _never() -> IO[bytes]:
    raise AssertionError("a link is read through what it names")


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


def _content(archive: Path, entries: dict[str, _Entry], path: str) -> _Entry:
    """Return the file whose content stands at `path`, through links to links."""
    entry, seen = entries[path], {path}
    while entry.link is not None:
        if entry.link in seen or entry.link not in entries:
            raise InputError(f"{archive}: {path!r} is a link to {entry.link!r}, which is no file in the archive")
        seen.add(entry.link)
        entry = entries[entry.link]
    return entry


def _write(archive: Path, entries: dict[str, _Entry], hidden: Path, pace: Pace) -> None:
    for number, path in enumerate(entries, 1):
        entry = _content(archive, entries, path)
        target = hidden / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with entry.open() as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 2**20)
            if file.tell() != entry.size:
                raise EOFError(f"{path} has {file.tell()} bytes instead of {entry.size}")
        pace.step(number, len(entries))


def _move(entries: Iterable[str], hidden: Path, folder: Path) -> int:
    """Move files to their places and return how many were new."""
    new = 0
    for path in entries:
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


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


def _is_junk(path: str) -> bool:
    name = posixpath.basename(path)
    return path.startswith("__MACOSX/") or name == ".DS_Store" or name.startswith("._")


def _check_space(folder: Path, needed: int, task: str) -> None:
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise RunError(f"{task} needs {in_bytes(needed)} in {folder}, where {in_bytes(free)} are free")


@contextmanager
def _told(archive: Path) -> Iterator[None]:
    """Turn whatever a reader or the disk raises into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise RunError(
                f"{archive.name} could not be unpacked: the disk is full; nothing was left behind"
            ) from error
        raise InputError(f"{archive}: cannot be unpacked ({_line(error)})") from error
    except _DAMAGE as error:
        raise InputError(f"{archive}: the archive is damaged ({_line(error)}): fetch it again") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
