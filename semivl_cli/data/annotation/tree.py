"""A folder, a file or a zip archive, read by the same few calls."""

from __future__ import annotations

import os
import posixpath
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from semivl_cli.data.annotation.zip_files import ZipFiles
from semivl_cli.data.read.picture_files import Picture, open_picture
from semivl_cli.documents import decode_text, load_json, read_bytes
from semivl_cli.errors import InputError
from semivl_cli.files import file_stamp, image_suffixes, walk

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tree:
    """A file or folder on the disk, or inside an archive."""

    path: Path
    archive: ZipFiles | None = field(default=None, repr=False)
    entry: str = ""
    """Of a file or folder in the archive; nothing for the whole."""

    @classmethod
    def open(cls, path: Path) -> Tree:
        """Open what `path` names; a zip archive becomes a tree of its entries.

        Raises:
            InputError: if there is nothing, or an archive is broken.
        """
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        try:
            packed = path.is_file() and zipfile.is_zipfile(path)
        except OSError as error:
            raise InputError(f"{path}: the file cannot be read ({error.strerror or error})") from error
        if packed:
            return cls(path, ZipFiles(path))
        if path.suffix.lower() == ".zip" and path.is_file():
            raise InputError(f"{path}: the archive is {'empty' if not path.stat().st_size else 'broken'}")
        return cls(path)

    def __str__(self) -> str:
        return f"{self.path}: {self.entry}" if self.entry else str(self.path)

    @property
    def name(self) -> str:
        """Last part of the name."""
        return self.entry.rpartition("/")[2] if self.entry else self.path.name

    @property
    def suffix(self) -> str:
        """Suffix in lower case."""
        return PurePosixPath(self.name).suffix.lower()

    @property
    def is_file(self) -> bool:
        """Whether it is a file that can be read, not a folder, a pipe or the like."""
        return self.path.is_file() if self.archive is None else self.archive.holds(self.entry)

    @property
    def is_picture(self) -> bool:
        """Whether it is an image or a mask, by its suffix."""
        return self.suffix in image_suffixes()

    @property
    def stamp(self) -> str:
        """What changes when the content of a file does, as far as one sees without reading it."""
        return file_stamp(self.path) if self.archive is None else self.archive.stamp(self.entry)

    def below(self, folder: str) -> Tree:
        """Return a folder in it."""
        return Tree(self.path / folder) if self.archive is None else Tree(self.path, self.archive, folder)

    def beside(self, name: str) -> Tree | None:
        """Return the file that a name or path means, relative to its own folder; none where there is no such file."""
        if self.archive is not None:
            entry = posixpath.normpath(PurePosixPath(self.entry).parent / name)
            return Tree(self.path, self.archive, entry) if self.archive.holds(entry) else None
        path = self.path.parent / name
        return Tree(path) if os.path.isfile(path) else None  # noqa: PTH113 - also of text that can be no path

    def files(self) -> Iterator[tuple[str, Tree]]:
        """Yield every file below, hidden ones left out, as its relative name with `/` and itself, in order."""
        if self.is_file:
            yield self.name, self
        elif self.archive is not None:
            inside = f"{self.entry}/" if self.entry else ""
            for name in self.archive.names():
                if name.startswith(inside):
                    yield name[len(inside) :], Tree(self.path, self.archive, name)
        else:
            for found in walk(self.path):
                below = found.folder.relative_to(self.path).as_posix()
                for name in found.files:
                    yield name if below == "." else f"{below}/{name}", Tree(found.folder / name)

    def look(self, work: Callable[[Picture], T]) -> T:
        """Return what `work` makes of a picture, of which the header was read; raises `InputError` if it is none."""
        return open_picture(self.path if self.archive is None else self.read(), str(self), work)

    def read(self) -> bytes:
        """Return the content of a file; raises `InputError` if it cannot be read, or is larger than `DOCUMENT`."""
        if self.archive is not None:
            return self.archive.read(self.entry)
        if self.path.exists() and not self.is_file:
            raise InputError(f"{self}: expected a file that can be read, not a pipe, a device or a folder")
        return read_bytes(self.path)

    def text(self) -> str:
        """Return the content of a text file, with or without a byte-order mark.

        Raises:
            InputError: if it cannot be read, or is not UTF-8.
        """
        return decode_text(self.read(), str(self))

    def json(self) -> object:
        """Return the content of a JSON file; raises `InputError` if it cannot be read, or is not JSON."""
        return load_json(self.read(), str(self))
