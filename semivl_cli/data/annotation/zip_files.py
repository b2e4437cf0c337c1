"""A zip archive that a tool or a stranger packed: names are checked when it is opened, files when they are read."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semivl_cli.errors import InputError
from semivl_cli.files import is_hidden
from semivl_cli.limits import DOCUMENT, UNPACKED

_SMALL = 2**28
_MOST_GROWTH = 100
"""A file of more than 256 MiB may be so many times as large as it is packed; what grows more is a bomb."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
)


class ZipFiles:
    """The files of an archive by their names, with `/` between folders; those of macOS and hidden ones are left out."""

    def __init__(self, path: Path) -> None:
        """Open an archive.

        Raises:
            InputError: it is broken, encrypted, larger than limits allow, or has names that are none, lead out of it or
                come twice.
        """
        self.path = path
        with _in_one_line(str(path)):
            self._zip = zipfile.ZipFile(path)
        self._entries: dict[str, zipfile.ZipInfo] = {}
        size = 0
        for info in self._zip.infolist():
            name = _checked_name(path, _name(info))
            if info.filename.endswith(("/", "\\")) or any(map(is_hidden, name.split("/"))):
                continue
            if not name:
                raise InputError(f"{path}: a file in it has no name: pack it anew")
            if info.flag_bits & 1:
                raise InputError(f"{path}: {name} is encrypted: unpack it yourself, and name the folder")
            if name in self._entries:
                raise InputError(f"{path}: it holds two files called {name}: pack it anew")
            self._entries[name] = info
            size += info.file_size
        UNPACKED.check(size / 2**30, str(path))

    def names(self) -> Iterator[str]:
        """Yield the names in order."""
        yield from sorted(self._entries)

    def holds(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return name in self._entries

    def stamp(self, name: str) -> str:
        """Return what changes when the content of a file does."""
        info = self._entries[name]
        return f"{info.CRC}-{info.file_size}"

    def read(self, name: str) -> bytes:
        """Return the content of a file; raises `InputError` if it is damaged, or larger than limits allow."""
        info, what = self._entries[name], f"{self.path}: {name}"
        DOCUMENT.check(info.file_size / 2**20, what)
        if info.file_size > max(_SMALL, _MOST_GROWTH * info.compress_size):
            raise InputError(
                f"{what}: unpacks to more than {_MOST_GROWTH} times its size: refused; if it is meant, unpack the "
                "archive yourself, and name the folder"
            )
        if info.compress_type not in _METHODS:
            raise InputError(f"{what}: packed in a way that is not read here: unpack it yourself, and name the folder")
        data = bytearray()
        with _in_one_line(what), self._zip.open(info) as file:
            while block := file.read(1 << 20):  # never more at once than this, whatever size the archive claims
                data += block
        return bytes(data)


def _name(info: zipfile.ZipInfo) -> str:
    """Return the name of an entry; macOS writes UTF-8 and does not say so."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode()
    except UnicodeError:
        return info.filename


def _checked_name(path: Path, name: str) -> str:
    """Return a name with `/` between its parts and nothing else; it must not lead out of the archive."""
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if plain.startswith("/") or re.match("[A-Za-z]:", plain) or ".." in parts or "\0" in plain:
        raise InputError(f"{path}: the name {name!r} leads out of the archive: refused")
    return "/".join(parts)


@contextmanager
def _in_one_line(what: str) -> Iterator[None]:
    """Turn whatever a damaged archive raises into one line."""
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{what}: the archive is damaged ({reason}): fetch or pack it again") from error
