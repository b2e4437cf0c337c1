"""A folder, a file or a zip archive, read by the same few calls."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from semivl_cli.errors import InputError
from semivl_cli.files import file_stamp, image_suffixes, walk


@dataclass(frozen=True, slots=True)
class Tree:
    """A file or folder on the disk, or inside an archive."""

    path: Path
    archive: zipfile.ZipFile | None = field(default=None, repr=False)
    entry: PurePosixPath = field(default_factory=PurePosixPath)

    @classmethod
    def open(cls, path: Path) -> Tree:
        """Open what `path` names; a zip archive becomes a tree of its entries.

        Raises:
            InputError: if there is nothing, or an archive is broken.
        """
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        if path.is_file() and zipfile.is_zipfile(path):
            try:
                return cls(path, zipfile.ZipFile(path))
            except (OSError, zipfile.BadZipFile) as error:
                raise InputError(f"{path}: the archive cannot be read ({error})") from error
        if path.suffix.lower() == ".zip":
            raise InputError(f"{path}: the archive is {'empty' if not path.stat().st_size else 'broken'}")
        return cls(path)

    def __str__(self) -> str:
        return str(self.path) if self.archive is None else f"{self.path}: {self.entry}"

    @property
    def name(self) -> str:
        """Last part of the name."""
        return self.path.name if self.archive is None else self.entry.name

    @property
    def suffix(self) -> str:
        """Suffix in lower case."""
        return PurePosixPath(self.name).suffix.lower()

    @property
    def is_picture(self) -> bool:
        """Whether it is an image or a mask, by its suffix."""
        return self.suffix in image_suffixes()

    @property
    def stamp(self) -> str:
        """What changes when the content of a file does, as far as one sees without reading it."""
        if self.archive is None:
            return file_stamp(self.path)
        info = self.archive.getinfo(str(self.entry))
        return f"{info.CRC}-{info.file_size}"

    def files(self) -> Iterator[tuple[str, Tree]]:
        """Yield every file below, hidden ones left out, as its relative name with `/` and itself, in order."""
        if self.archive is not None:
            for name in sorted(self.archive.namelist()):
                parts = PurePosixPath(name).parts
                if not name.endswith("/") and not any(part.startswith((".", "__MACOSX")) for part in parts):
                    yield name, Tree(self.path, self.archive, PurePosixPath(name))
        elif self.path.is_file():
            yield self.path.name, self
        else:
            for found in walk(self.path):
                below = found.folder.relative_to(self.path).as_posix()
                for name in found.files:
                    yield name if below == "." else f"{below}/{name}", Tree(found.folder / name)

    def read(self) -> bytes:
        """Return the content of a file; raises `InputError` if it cannot be read."""
        try:
            return self.path.read_bytes() if self.archive is None else self.archive.read(str(self.entry))
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise InputError(f"{self}: the file cannot be read ({error})") from error

    def text(self) -> str:
        """Return the content of a text file, with or without a byte-order mark.

        Raises:
            InputError: if it cannot be read, or is not UTF-8.
        """
        try:
            return self.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{self}: expected text in UTF-8 ({error.reason} at byte {error.start})") from error

    def json(self) -> object:
        """Return the content of a JSON file; raises `InputError` if it cannot be read, or is not JSON."""
        try:
            content: object = json.loads(self.text())
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"{self}: not JSON: {error}") from error
        return content


def bare(name: str) -> str:
    """Return a name of a picture without its suffix; other dots are part of the name."""
    suffix = PurePosixPath(name).suffix
    return name[: -len(suffix)] if suffix.lower() in image_suffixes() else name
