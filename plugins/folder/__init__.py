"""A folder of images and masks: the dataset for one's own data, and the plugin to copy.

`images/` and `masks/` (same stem, in the same sub-folder), optional lists of ids `train.txt` and `val.txt`, optional
`dataset.toml` with the meaning of mask values; `prepared/` holds what `semivl prepare data folder` made of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import Classes, Found, Record, Say, Split
from semivl_cli.errors import InputError
from semivl_cli.processes import in_threads

from .listing import Listing
from .saved_index import Header, find_index, moved_from
from .split import divide
from .values import ValueMap, read_values

if TYPE_CHECKING:
    from .prepare import Preparation


class Folder:
    """Reads `images/`, `masks/`, `train.txt`, `val.txt` and `dataset.toml` of one folder, or the index of them."""

    name = "folder"
    definition = ""
    """None of its own: the classes are the user's."""
    recipe = "recipe.toml"

    def __init__(self) -> None:
        self.notes: tuple[str, ...] = ()
        """What the user should know about the records that were listed last."""
        self.problems: dict[str, list[str]] = {}
        """What `prepare` found that a training would refuse: kind -> one line each."""
        self.explained: Collection[str] = ()
        """Ids of images that lack a file because of one of `problems`."""
        self.made_for: tuple[str, ...] = ()
        """Names of the classes that the masks were converted for; none where they are the user's own files."""
        self.options: Mapping[str, str] = {}
        """Of the `semivl prepare data` that calls `prepare` next, so that messages can say how to call it again."""
        self.value_range: tuple[float, float] | None = None
        """Which numbers of images of more than 8 bits are black and white, where `dataset.toml` says so."""
        self._values = ValueMap()
        self._header: Header | None = None

    def records(self, root: Path, split: Split) -> Iterator[Record]:
        """Yield the records of a split; an id is a path below `images/` without its suffix, such as `day1/0042`."""
        root = root.absolute()
        index = find_index(root)
        if index is None and (before := moved_from(root)):
            raise InputError(
                f"{root} was prepared in another place: run `{before.renewal()}`, which makes its masks anew"
            )
        newer = index.header.stale() if index else None
        if index and newer and (index.header.converted or index.header.elsewhere):
            raise _changed(newer, index.header)
        self._header = index.header if index and not newer else None
        if index and not newer:
            self.notes, self.made_for = tuple(index.header.notes), tuple(index.header.classes)
            said = read_values(root / "dataset.toml")
            self._values = ValueMap() if index.header.converted else said
            entries = index.entries(root, split)
        else:
            _check_folders(root)
            said = self._values = read_values(root / "dataset.toml")
            self.made_for = ()
            division = divide(Listing(root))
            self.notes = division.notes
            if index and newer:
                self.notes += (f"the index is not used, {newer} is newer: `{index.header.renewal()}` renews it",)
            entries = division.train() if split == "train" else iter(division.val)
        self.value_range = said.value_range
        for entry in entries:
            yield Record(id=entry.id, image=entry.image, label=entry.mask)

    def class_ids(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Translate raw values as the `dataset.toml` says that `records` read last."""
        return self._values.class_ids(raw)

    def check_masks(self, records: Iterable[Record]) -> None:
        """Refuse masks whose originals are not as they were when they were converted, by size and time."""
        if self._header is None or not self._header.converted:
            return
        from semivl_cli.data.convert.mask_files import changed_origin  # noqa: PLC0415 - needs Pillow

        masks = (record.label for record in records if isinstance(record.label, Path))
        newer = next((changed for _, changed in in_threads(changed_origin, masks) if changed), None)
        if newer:
            raise _changed(newer, self._header)

    def renewal(self, definition: str) -> str:
        """Return the command that makes the masks again, by another definition."""
        return "" if self._header is None else self._header.renewal(definition)

    def find_classes(self, root: Path, sources: Sequence[Path], report: Say) -> Found:
        """Say which classes the masks and sources seem to have, for a definition to begin with."""
        return self._prepare(root.absolute(), sources, (), report).find_classes()

    def prepare(self, root: Path, sources: Sequence[Path], classes: Classes, download: bool, report: Say) -> None:
        """Convert masks that are no class ids, and write an index, below `root` or where it cannot be written."""
        if download:
            raise InputError("dataset 'folder' is your own: there is nothing to download")
        preparation = self._prepare(root.absolute(), sources, classes, report)
        self.problems = preparation.convert()
        self.explained = preparation.explained

    def _prepare(self, root: Path, sources: Sequence[Path], classes: Classes, report: Say) -> Preparation:
        from .prepare import Preparation, choose_sources  # noqa: PLC0415 - a list of datasets must not wait for Pillow

        sources = choose_sources(root, sources, report)
        if not sources:
            _check_folders(root)
        return Preparation(root, sources, classes, self.options, report)


def _changed(newer: str, header: Header) -> InputError:
    return InputError(f"{newer} is not as it was when the dataset was prepared: run `{header.renewal()}` again")


def _check_folders(root: Path) -> None:
    for folder in ("images", "masks"):
        if not (root / folder).is_dir():
            raise InputError(
                f"{root}: expected a folder with images/ and masks/ there, but {folder}/ is absent; "
                f"--root names another place, and `semivl prepare data folder --from` reads other layouts"
            )
