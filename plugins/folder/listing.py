"""Walks the images of a folder dataset and finds the mask of each, one folder at a time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from semivl_cli.data.annotation.exported_split import ExportedSplit, split_of_folders
from semivl_cli.errors import InputError
from semivl_cli.files import Content, is_image, read_folder, walk

if TYPE_CHECKING:  # a list of datasets must not wait for Pillow
    from semivl_cli.data.annotation.annotations import Images


class Entry(NamedTuple):
    """An image, and its mask where it has one."""

    id: str
    image: Path
    mask: Path | None
    split: ExportedSplit | None = None
    """What the folders in which it lies say it is for, such as `train/`."""


class Listing:
    """All images below a root and in other places, in a stable order; nothing is kept but what was seen of folders."""

    def __init__(self, root: Path, elsewhere: Sequence[Images] = (), drawn: Mapping[str, Path] | None = None) -> None:
        """List `root`; with `drawn` (id -> mask) these are the masks, and not those in `masks/`."""
        self.root, self._elsewhere, self._drawn = root, elsewhere, drawn
        self.folders: dict[str, int] = {}
        """Every folder that was looked into -> when its content changed last, in ns."""
        self.notes: list[str] = []
        self._passed_over: Counter[str] = Counter()
        """Suffixes of files in `images/` that are not read -> how many."""
        self._masks_in = lru_cache(maxsize=64)(self._list_masks)

    def entries(self) -> Iterator[Entry]:
        """Yield every image; raises `InputError` if two images have one id, or a folder cannot be read."""
        self.notes.clear()
        self._passed_over.clear()
        if self._drawn is not None:
            for _ in self._walk(self.root / "masks"):
                pass  # to see its folders
        for name, path in self._walk(self.root / "images"):
            yield Entry(name, path, self._mask(name), split_of_folders(name.split("/")[:-1]))
        if self._passed_over:
            self.notes.append(f"{self.root / 'images'} holds files that are not read: {self.passed_over()}")
        seen: set[str] = set()
        for source in self._elsewhere:
            for path in source.files():
                name = self._id_elsewhere(source, path)
                if name in seen:
                    raise InputError(f"{path}: another image has the id {name!r} too: rename one, or leave one out")
                seen.add(name)
                if not source.listed:  # where a list names them, other files of their folders do not matter
                    self._watch(path.parent, source.where)
                folders = (source.where.name, *path.relative_to(source.where).parts[:-1]) if source.beside else ()
                yield Entry(name, path, self._mask(name), split_of_folders(folders))

    def passed_over(self) -> str:
        """Say how many files in `images/` are not read, by their suffixes; nothing where all are."""
        most = self._passed_over.most_common(5)
        return ", ".join(f"{number} {suffix or 'without a suffix'}" for suffix, number in most)

    def orphans(self) -> Iterator[str]:
        """Yield the id of every mask in `masks/` that has no image."""
        if self._drawn is not None:
            return
        elsewhere = {self._id_elsewhere(source, path) for source in self._elsewhere for path in source.files()}
        images = lru_cache(maxsize=64)(lambda folder: _stems(read_folder(self.root / "images" / folder)))
        for name, _ in self._walk(self.root / "masks"):
            folder, _, stem = name.rpartition("/")
            if stem not in images(folder) and name not in elsewhere:
                yield name

    def _mask(self, name: str) -> Path | None:
        if self._drawn is not None:
            return self._drawn.get(name)
        folder, _, stem = name.rpartition("/")
        found = self._masks_in(folder).get(stem)
        return None if found is None else self.root / "masks" / folder / found

    def _watch(self, folder: Path, top: Path) -> None:
        """Remember when a folder changed last, and those above it up to `top`."""
        while str(folder) not in self.folders and folder.is_relative_to(top):
            self.folders[str(folder)] = folder.stat().st_mtime_ns
            folder = folder.parent

    def _list_masks(self, folder: str) -> Mapping[str, str]:
        content = read_folder(self.root / "masks" / folder)
        self.folders[str(content.folder)] = content.changed
        return _stems(content)

    def name_of(self, source: Images) -> str:
        """Return what the ids of images elsewhere begin with."""
        if not source.unpacked and source.where.is_relative_to(self.root):
            return source.where.relative_to(self.root).as_posix()
        return f"{source.where.parent.name}/" * (source.where.name in self._alike) + source.where.name

    @cached_property
    def _alike(self) -> set[str]:
        """Names of several folders elsewhere in which images are called alike."""
        found: dict[str, set[Path]] = {}
        alike = set[str]()
        named = Counter(source.where.name for source in self._elsewhere)
        for source in (one for one in self._elsewhere if named[one.where.name] > 1 and not one.listed):
            below = {path.relative_to(source.where).with_suffix("") for path in source.files()}
            others = found.setdefault(source.where.name, set())
            if others & below:
                alike.add(source.where.name)
            others |= below
        return alike

    def _id_elsewhere(self, source: Images, path: Path) -> str:
        if source.unpacked:
            relative = self.name_of(source) / path.relative_to(source.where)
        elif path.is_relative_to(self.root):
            relative = path.relative_to(self.root)
        elif path.is_relative_to(source.where):
            relative = path.relative_to(source.where)
            relative = relative if source.listed else self.name_of(source) / relative
        else:
            relative = path.relative_to(path.anchor) if path.is_absolute() else path
        return relative.with_suffix("").as_posix()

    def _walk(self, top: Path) -> Iterator[tuple[str, Path]]:
        """Yield id and path of every picture below `top`, in the order of `walk`."""
        for found in walk(top, self.notes.append) if top.is_dir() else ():
            folder = found.folder.relative_to(top).as_posix().removeprefix(".")
            self._masks_in(folder)  # so that masks that come later are noticed
            self.folders[str(found.folder)] = found.changed
            for stem, name in _stems(found).items():
                yield f"{folder}/{stem}" if folder else stem, found.folder / name
            if top == self.root / "images":
                self._passed_over.update(Path(name).suffix.lower() for name in found.files if not is_image(name))
            self.notes.extend(
                f"{found.folder / name} is a folder, not a picture: looked into"
                for name in found.folders
                if is_image(name)
            )


def _stems(content: Content) -> Mapping[str, str]:
    """Return stem -> name of every picture of a folder, in order."""
    found: dict[str, str] = {}
    for name in filter(is_image, content.files):
        stem = os.path.splitext(name)[0]  # noqa: PTH122 - a Path for each of millions of names is slow
        if stem in found:
            whole = content.folder / name
            raise InputError(f"{whole}: {found[stem]} beside it has the same stem, so both have the id {stem!r}")
        found[stem] = name
    return found
