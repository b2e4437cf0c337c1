"""What stands in a tar or zip archive of strangers: every name is checked before anything is unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import posixpath
import re
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, cast

from semivl_cli.data.read.tar_headers import DamagedTarError, tar_headers
from semivl_cli.errors import InputError

MAX_ENTRIES = 1_000_000
"""Files, folders and links of an archive."""

_MOST_NAME = 4096
_PACKINGS: Mapping[bytes, Callable[[Path, str], object]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
"""How to open what begins so."""
_ZIP = (b"PK\3\4", b"PK\5\6")
_DIRECTORY_ENTRY = 46
"""Bytes that a zip archive has at least of each file."""


class Packed(NamedTuple):
    """A file of an archive."""

    size: int
    place: int
    """Which of them it is: links to it have the same."""
    open: Callable[[], IO[bytes]]


Entry = Packed | str | None
"""A file, where a link leads from the archive's root, or nothing for a folder."""


def list_entries(archive: Path, stack: ExitStack) -> Iterator[tuple[str, Entry]]:
    """Yield path, with `/` between its parts, and content of each entry; `stack` closes what files are read from.

    Raises:
        InputError: it is no archive, or holds something that would leave the folder, a device or the like.
        Exception: whatever the readers of archives raise of a damaged one.
    """
    with archive.open("rb") as file:
        start = file.read(8)
    unpacked = next((opener for sign, opener in _PACKINGS.items() if start.startswith(sign)), None)
    if start.startswith(_ZIP) and not zipfile.is_zipfile(archive):
        raise zipfile.BadZipFile("its end is missing")
    if unpacked is None and zipfile.is_zipfile(archive) and not _is_tar(archive):
        _check_directory(archive)
        entries = _zip_entries(archive, stack.enter_context(zipfile.ZipFile(archive)))
    else:
        stream = cast("IO[bytes]", (unpacked or open)(archive, "rb"))
        entries = _tar_entries(archive, stack.enter_context(stream))
    for count, entry in enumerate(entries, 1):
        if count > MAX_ENTRIES:
            raise InputError(f"{archive}: it holds more than {MAX_ENTRIES} files: refused; unpack it yourself")
        yield entry


def _is_tar(archive: Path) -> bool:
    """Whether it begins as a tar does; the end of one may look like that of a zip archive, which is its last file."""
    with archive.open("rb") as file:
        return file.read(512)[257:262] == b"ustar"


def _tar_entries(archive: Path, stream: IO[bytes]) -> Iterator[tuple[str, Entry]]:
    seen = False
    try:
        for number, info in enumerate(tar_headers(stream)):
            seen = True
            path = _inside(archive, info.name)
            if info.isdir():
                yield path, None
            elif info.issym() or info.islnk():
                near = posixpath.dirname(path) if info.issym() else ""
                yield path, _link_target(archive, path, near, info.linkname)
            elif info.issparse():
                raise InputError(f"{archive}: {info.name!r} is a file with holes (sparse): unpack the archive yourself")
            elif info.isreg():
                yield path, Packed(info.size, number, partial(_slice, stream, info.offset_data, info.size))
            else:
                raise InputError(f"{archive}: {info.name!r} is a device, a pipe or the like: refused")
    except DamagedTarError as error:
        if seen:
            raise
        raise InputError(f"{archive}: expected a tar or zip archive ({error})") from error


def _slice(stream: IO[bytes], at: int, size: int) -> IO[bytes]:
    return cast("IO[bytes]", _Slice(stream, at, size))


class _Slice(io.RawIOBase):
    """A stretch of a stream; others are read from the same."""

    def __init__(self, stream: IO[bytes], at: int, size: int) -> None:
        self._stream, self._at, self._left = stream, at, size

    def read(self, size: int = -1) -> bytes:
        """Return no more bytes than are left, and fewer where the stream ends."""
        self._stream.seek(self._at)
        data = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._at, self._left = self._at + len(data), self._left - len(data)
        return data


def _check_directory(archive: Path) -> None:
    """Refuse a zip archive with a directory so large that the list of its files would take the memory."""
    size = archive.stat().st_size
    with archive.open("rb") as file:
        file.seek(max(size - 2**16 - 22, 0))
        tail = file.read()
    at = tail.rfind(b"PK\5\6")
    directory = struct.unpack_from("<I", tail, at + 12)[0] if 0 <= at <= len(tail) - 22 else 0
    if min(directory, size) > _DIRECTORY_ENTRY * MAX_ENTRIES * 4:
        raise InputError(f"{archive}: its directory has {directory} bytes: refused; unpack it yourself")


def _zip_entries(archive: Path, packed: zipfile.ZipFile) -> Iterator[tuple[str, Entry]]:
    for number, info in enumerate(packed.infolist()):
        path = _inside(archive, info.filename)
        kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0  # 3: written on Unix
        if info.flag_bits & 1:
            raise InputError(f"{archive}: {info.filename!r} is encrypted: unpack the archive yourself")
        if info.filename.endswith("/"):
            yield path, None
        elif kind == stat.S_IFLNK:
            if info.file_size > _MOST_NAME:
                raise InputError(f"{archive}: {info.filename!r} is a link of {info.file_size} bytes: refused")
            yield path, _link_target(archive, path, posixpath.dirname(path), os.fsdecode(packed.read(info)))
        elif kind in (0, stat.S_IFREG):
            yield path, Packed(info.file_size, number, partial(packed.open, info))
        else:
            raise InputError(f"{archive}: {info.filename!r} is a device, a pipe or the like: refused")


def _inside(archive: Path, name: str) -> str:
    """Return the path of an entry, with `/` between its parts, and refuse one that could leave the folder."""
    if len(name) > _MOST_NAME:
        raise InputError(f"{archive}: {name[:60]!r}... is a name of {len(name)} characters: refused")
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
