"""What `semivl prepare data folder` does before the look at every file: recognise, convert, write the index."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from semivl_cli.data.annotation.annotations import Annotations, Images, Key, make_key
from semivl_cli.data.annotation.image_names import ImageNames
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.contract import Classes, Found, Say
from semivl_cli.data.convert.classes import classes_of
from semivl_cli.data.convert.detect_format import open_source
from semivl_cli.data.convert.mask_files import Conversion, convert
from semivl_cli.data.convert.matching import Matches, match_images
from semivl_cli.data.convert.own_masks import key_of_palettes, why_converted
from semivl_cli.data.formats.mask_folder import open_masks
from semivl_cli.data.formats.mask_names import DETECTED, Affixes
from semivl_cli.data.read.images import known_classes
from semivl_cli.errors import InputError
from semivl_cli.files import file_stamp, is_image, locked, walk

from .listing import Listing
from .saved_index import Header, find_index, index_folders, writable_folder, write_index
from .split import divide
from .values import ValueMap, read_values


def choose_sources(root: Path, sources: Sequence[Path], report: Say) -> Sequence[Path]:
    """Return the sources to take in: those that are given, else those of the last time, as far as they are there."""
    try:
        index = find_index(root)
    except InputError:  # a broken index is about to be written anew
        return sources
    before = [_plain(Path(name)) for name in index.header.sources] if index else []
    sources = [_plain(source) for source in sources]
    if sources:
        for path in before:
            if path not in sources:
                report(f"{path} is not taken in any more: name it with --from, too, to keep it")
        return sources
    for path in before:
        report(f"{path}: {'taken in as before' if path.exists() else 'gone, so its masks and images do not count'}")
    return [path for path in before if path.exists()]


def _plain(path: Path) -> Path:
    """Return an absolute path without `..`, which must not become part of an id."""
    plain = Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` would follow links, whose names are those of ids
    return path.resolve() if path.exists() and not (plain.exists() and plain.samefile(path)) else plain


class Preparation:
    """One call of `prepare`: its root, its sources, and what became of them."""

    def __init__(
        self, root: Path, sources: Sequence[Path], classes: Classes, options: Mapping[str, str], report: Say
    ) -> None:
        self.root, self.sources, self.classes, self.options, self.report = root, sources, classes, options, report
        self._class_names = [name for name, _ in classes]
        self._ids = ImageNames(self._list_ids())
        self.explained: set[str] = set()
        """Ids of images that lack a file because of a problem that was told."""

    def convert(self) -> dict[str, list[str]]:
        """Convert what must be converted and write the index; returns problems by their kind."""
        folder = writable_folder(self.root)
        if folder.parent != self.root:
            self.report(f"{self.root} cannot be written: index and conversions go to {folder}")
        with locked(
            folder / ".lock",
            busy=f"{self.root} is being prepared by another process: wait for it",
            refused=lambda error: f"{folder / '.lock'}: cannot be written ({error.strerror or error})",
        ):
            return self._convert_into(folder)

    def _convert_into(self, folder: Path) -> dict[str, list[str]]:
        values, names = self._values, self._class_names
        beyond = max(values.named, default=0)
        if names and beyond >= len(names):
            raise InputError(
                f"{self.root / 'dataset.toml'} has the class id {beyond}, but the classes are {known_classes(names)}"
            )
        converts = bool(self._annotations)
        matches, result = Matches(self._annotations), Conversion()
        if converts:
            images = {entry.id: entry.image for entry in self._images.entries()}
            called = {source.where: self._images.name_of(source) for source in self._elsewhere}
            homes = [called.get(source.home, "") if source.home else "" for source in self._annotations]
            matches = match_images(self._annotations, self._ids, homes)
            keys = self._keys(matches)
            result = convert(matches, keys, images, folder / "masks", self.classes, values.orientation)
        for note in result.notes:
            self.report(note)
        masks = {name: folder / "masks" / f"{name}.png" for name in result.drawn} if converts else None
        listing = Listing(self.root, self._elsewhere, masks)
        try:
            division = divide(listing, matches.unmatched, matches.splits)
        except InputError:
            self._tell(result.problems)
            raise
        self.explained = {name for name, made in result.drawn.items() if not made}
        self.explained.update(entry.id for entry in division.orphans if converts)
        lists = [self.root / name for name in ("train.txt", "val.txt", *(["dataset.toml"] if converts else []))]
        folders, shared = _look_into(self.sources, self.root, matches.parts) if converts else ({}, [])
        header = Header(
            root=str(self.root.resolve()),
            converted=converts,
            classes=names if converts else [],
            elsewhere=bool(self._elsewhere),
            folders=listing.folders | self._images.folders | folders,
            files={str(path): file_stamp(path) for path in (*lists, *self.sources, *shared)},
            sources=[str(path) for path in self.sources],
            options=self.options,
            notes=division.notes,
        )
        counts = write_index(folder, self.root, header, division)
        self.report(
            f"wrote {folder / 'index.jsonl'}: {counts['train']} training and {counts['val']} validation images; "
            "trainings read it instead of the folders, until one of them changes"
        )
        return result.problems

    def _key(self, source: Annotations) -> Key:
        values = self._values
        return make_key(source, self.classes, values.names, values.background, values.class_ids)

    def _keys(self, matches: Matches) -> list[Key]:
        """Say what the labels of every source mean; where some mean nothing, names without image are told, too."""
        keys: list[Key] = []
        wrong: list[InputError] = []
        for source in self._annotations:
            try:
                key = self._key(source)
                keys.append(key if source.labels else key_of_palettes(source, key))
            except InputError as error:
                wrong.append(error)
        if wrong:
            self._tell({"masks that cannot be matched with an image": matches.problems})
            for other in wrong[1:]:
                self.report(str(other))
            raise wrong[0]
        return keys

    def _tell(self, problems: Mapping[str, Sequence[str]]) -> None:
        """Say what was found before something else ends the work."""
        for kind, lines in problems.items():
            if lines:
                self.report(f"{kind}: {len(lines)}, the first: {lines[0]}")

    def find_classes(self) -> Found:
        """Return the classes that masks and sources seem to have."""
        return classes_of(self._annotations or [open_masks(Tree(self.root / "masks"), (), ImageNames(()))])

    @cached_property
    def _values(self) -> ValueMap:
        return read_values(self.root / "dataset.toml")

    @cached_property
    def _found(self) -> list[Annotations | Images]:
        """What the sources are."""
        packed = any(path.suffix.lower() == ".zip" for path in self.sources)
        unpack_to = (writable_folder(self.root) if packed else index_folders(self.root)[0]) / "unpacked"
        affixes = self._affixes
        found = []
        for path in self.sources:
            parts = open_source(path, self._class_names, self._ids, unpack_to, affixes)
            home = next((one.where for one in parts if isinstance(one, Images) and one.beside), None)
            found += [replace(one, home=home) if isinstance(one, Annotations) else one for one in parts]
        for source in found:
            if isinstance(source, Annotations) or self._wanted(source):
                self.report(f"{source.where}: {source.kind}")
            for note in source.notes if isinstance(source, Images) else ():
                self.report(note)
        return found

    @property
    def _affixes(self) -> Affixes:
        return Affixes(self._values.mask_suffix, self._values.image_suffix)

    @cached_property
    def _annotations(self) -> list[Annotations]:
        """Sources of masks, the user's own `masks/` first unless they can be read as they are, and there are no others.

        Raises:
            InputError: if palettes of the masks contradict each other.
        """
        given = [source for source in self._found if isinstance(source, Annotations)]
        own = Tree(self.root / "masks")
        if not own.path.is_dir():
            return given
        masks = replace(open_masks(own, self._class_names, self._ids, self._affixes), prevails=True)
        why = ""
        if not given and self._affixes == DETECTED and self.classes:  # else classes are looked for
            images = {entry.id: entry.image for entry in self._images.entries()}
            key, orientation = self._key(masks), self._values.orientation
            why = why_converted(own, self._class_names, self._ids, images, key, orientation)
            if why:
                self.report(f"{own}: the masks are converted: {why}")
        return [masks, *given] if why or given or self._affixes != DETECTED else []

    @cached_property
    def _elsewhere(self) -> list[Images]:
        """Images elsewhere; those beside annotations count where the root has no `images/`."""
        return [source for source in self._found if isinstance(source, Images) and self._wanted(source)]

    def _wanted(self, source: Images) -> bool:
        own = self.root / "images"
        return not (source.beside and own.is_dir()) and not source.where.is_relative_to(own)

    @cached_property
    def _images(self) -> Listing:
        return Listing(self.root, self._elsewhere, {})

    def _list_ids(self) -> Iterator[str]:
        for entry in self._images.entries():
            yield entry.id


def _look_into(sources: Iterable[Path], root: Path, parts: Collection[str]) -> tuple[dict[str, int], list[Path]]:
    """Return what tells later whether the folders among the sources hold other drawings.

    Every folder, with when its content changed last, and the files that many masks may depend on, such as a list of
    classes: those that are no pictures and not `parts`, which draw one image each.
    """
    folders: dict[str, int] = {}
    shared: list[Path] = []
    for source in sources:
        for found in walk(source) if source.is_dir() else ():
            if any(found.folder.is_relative_to(own) for own in index_folders(root)):
                continue  # which change with every call
            folders[str(found.folder)] = found.changed
            files = (found.folder / name for name in found.files if not is_image(name))
            shared += [path for path in files if str(path) not in parts]
    return folders, shared
