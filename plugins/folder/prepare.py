"""What `semivl prepare data folder` does before the look at every file: recognise, convert, write the index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from semivl_cli.data.contract import Classes, Found
from semivl_cli.data.convert.classes import classes_of
from semivl_cli.data.convert.paint import convert
from semivl_cli.data.convert.recognize import open_source
from semivl_cli.data.drawing.annotations import Annotations, Images, Meaning, known_classes, make_key
from semivl_cli.data.drawing.image_names import ImageNames
from semivl_cli.data.drawing.tree import Tree
from semivl_cli.data.formats.mask_folder import need_conversion, open_masks
from semivl_cli.errors import InputError

from .listing import Extra, Listing
from .saved_index import Header, file_stamp, read_header, writable_place, write_index
from .split import divide
from .values import read_values


def remembered(root: Path, sources: Sequence[Path], report: Callable[[str], None]) -> Sequence[Path]:
    """Return the sources to take in: those that are given, else those of the last time, as far as they are there."""
    try:
        kept = read_header(root)
    except InputError:  # a broken index is about to be written anew
        return sources
    before = [Path(name) for name in kept[1].sources] if kept else []
    for path in before if sources else []:
        if path not in [source.absolute() for source in sources]:
            report(f"{path} is not taken in any more: name it with --from, too, to keep it")
    if sources:
        return sources
    for path in before:
        report(f"{path}: {'taken in as before' if path.exists() else 'gone, so its masks and images do not count'}")
    return [path for path in before if path.exists()]


class Preparation:
    """One call of `prepare`: its root, its sources, and what became of them."""

    def __init__(self, root: Path, sources: Sequence[Path], classes: Classes, report: Callable[[str], None]) -> None:
        self.root, self.sources, self.classes, self.report = root, sources, classes, report
        self._names = ImageNames()

    def run(self) -> dict[str, list[str]]:
        """Convert what must be converted and write the index; returns problems by their kind."""
        place = writable_place(self.root)
        if place.parent != self.root:
            self.report(f"{self.root} cannot be written: index and conversions go to {place}")
        values = read_values(self.root / "dataset.toml")
        names = [name for name, _ in self.classes]
        beyond = max(values.named, default=0)
        if names and beyond >= len(names):
            raise InputError(
                f"{self.root / 'dataset.toml'} has the class id {beyond}, but the classes are {known_classes(names)}"
            )
        images = {entry.id: entry.image for entry in self._images.entries()} if self._converts else {}
        problems: dict[str, list[str]] = {}
        masks: dict[str, Path] | None = None
        unmatched: Sequence[str] = ()
        if self._converts:
            self._names.add(images)
            meaning = Meaning(names=values.names, background=values.background, class_ids=values.class_ids)
            keyed = [(source, make_key(source, self.classes, meaning)) for source in self._annotations]
            result = convert(keyed, images, place / "masks", self.classes)
            for note in result.notes:
                self.report(note)
            problems, unmatched = result.problems, result.unmatched
            masks = {name: place / "masks" / f"{name}.png" for name in result.drawn}
        listing = Listing(self.root, self._extras, masks)
        division = divide(listing, unmatched)
        watched = ["train.txt", "val.txt"] + (["dataset.toml"] if self._converts else [])
        files = {str(path): file_stamp(path) for path in (*(self.root / name for name in watched), *self.sources)}
        header = Header(
            root=str(self.root.resolve()),
            converted=self._converts,
            classes=names if self._converts else [],
            elsewhere=bool(self._extras),
            folders=listing.folders | self._images.folders,
            files=files,
            sources=[str(path.absolute()) for path in self.sources],
            notes=division.notes,
        )
        counts = write_index(place, self.root, header, division)
        self.report(
            f"wrote {place / 'index.jsonl'}: {counts['train']} training and {counts['val']} validation images; "
            "trainings read it instead of the folders, until one of them changes"
        )
        return problems

    def find_classes(self) -> Found:
        """Return the classes that masks and sources seem to have."""
        if self._converts:
            self._names.add(entry.id for entry in self._images.entries())
        return classes_of(self._annotations or [open_masks(Tree(self.root / "masks"), (), self._names)])

    @cached_property
    def _found(self) -> list[Annotations | Images]:
        """What the sources are."""
        names = [name for name, _ in self.classes]
        found = [source for path in self.sources for source in open_source(path.absolute(), names, self._names)]
        for source in found:
            where = source.where if isinstance(source, Annotations) else str(source.where)
            self.report(f"{where}: {source.kind}")
        return found

    @cached_property
    def _annotations(self) -> list[Annotations]:
        """Sources of masks, the user's own `masks/` first where they are no class ids, or others are converted."""
        given = [source for source in self._found if isinstance(source, Annotations)]
        own = self.root / "masks"
        names = [name for name, _ in self.classes]
        if own.is_dir() and (given or need_conversion(Tree(own), names, self._images_for_layers)):
            return [open_masks(Tree(own), names, self._names), *given]
        return given

    @property
    def _converts(self) -> bool:
        return bool(self._annotations)

    @cached_property
    def _images_for_layers(self) -> ImageNames:
        names = ImageNames()
        names.add(entry.id for entry in self._images.entries())
        return names

    @cached_property
    def _extras(self) -> list[Extra]:
        """Images elsewhere; those beside annotations count where the root has no `images/`."""
        own = self.root / "images"
        return [
            Extra(source.where, source.files, source.listed)
            for source in self._found
            if isinstance(source, Images)
            and not (source.beside and own.is_dir())
            and not source.where.is_relative_to(own)
        ]

    @cached_property
    def _images(self) -> Listing:
        return Listing(self.root, self._extras, {})
