"""What a dataset plugin offers: a name, a definition, a recipe, records and the meaning of mask values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from semivl_cli import class_ids

IGNORE = class_ids.IGNORE
"""The class id of pixels that neither train nor count."""
NO_CLASS = class_ids.NO_CLASS
"""What `class_ids` makes of a raw value that means nothing: the mask is then refused with its file's name."""

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")


@dataclass(frozen=True, kw_only=True, slots=True)
class TarEntry:
    """A file inside an uncompressed tar shard: its bytes are read where they lie, nothing is unpacked."""

    shard: Path
    offset: int
    """Where its bytes begin in the shard."""
    size: int
    """Their number."""

    def __str__(self) -> str:
        return f"{self.shard} at byte {self.offset}"


Member = TarEntry
"""What plugins of before call it."""

Source = Path | TarEntry | Callable[[], NDArray[np.uint8]]
"""Where pixels come from: a file, an entry of a tar shard, or a picklable function of no arguments that returns uint8
pixels (`[H, W, 3]` RGB for an image, `[H, W]` raw values for a label)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One image of a dataset; `label` is `None` where no mask exists, which makes it unlabelled."""

    id: str
    image: Source
    label: Source | None = None


@runtime_checkable
class Dataset(Protocol):
    """A dataset plugin, registered in the entry-point group `semivl.datasets`: what each must have.

    The protocols below say what it may have besides: `prepare`, `find_classes`, `notes`, `problems`, `made_for`,
    `value_range`.

    The package of the plugin may hold a folder `splits/` with the protocol's lists: `labeled-<N>.txt` (ids, one a
    line) and `fractions.toml` (`"1/115" = 92`). `--labels N` then takes the list instead of a draw.
    """

    name: str
    definition: str
    """Name of a shipped definition, or a TOML file inside the plugin's package."""
    recipe: str
    """Name of a shipped recipe, or a TOML file inside the plugin's package."""

    def records(self, root: Path, split: Split) -> Iterable[Record]:
        """Yield the records of `split` below `root`, in a stable order.

        A training record with a label may be used as labelled or as unlabelled; one without only as unlabelled.
        Files need not exist: the index counts what is missing.
        """

    def class_ids(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Turn raw mask values `[H, W]` into class ids `0..N-1` and `IGNORE`."""


def stored_ids(raw: NDArray[Any]) -> NDArray[np.uint8]:
    """Return raw values that are class ids already; one that does not fit into a byte becomes no class, not another."""
    if raw.dtype == np.uint8:
        return raw
    return np.where((raw < 0) | (raw > IGNORE), NO_CLASS, raw).astype(np.uint8)


Color = tuple[int, int, int]
"""Red, green and blue, each 0..255."""

Classes = Sequence[tuple[str, Color]]
"""Name and colour of each class, by id."""

Say = Callable[[str], None]
"""Takes a line that the user should know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The classes that files seem to have, for a definition that a user begins with."""

    classes: Sequence[tuple[str, Color | None]]
    """Name, and colour where the files have one, by id."""
    values: Sequence[int] = ()
    """Raw value of each class where the classes stand for values of masks, and these do not simply count from 0."""


@runtime_checkable
class Prepares(Protocol):
    """A plugin that fetches, converts or writes files before a training reads them."""

    def prepare(self, root: Path, sources: Sequence[Path], classes: Classes, download: bool, report: Say) -> None:
        """Make `root` hold the dataset.

        Args:
            root: where the dataset shall lie.
            sources: files or folders to convert; none where the user named none.
            classes: of the definition.
            download: whether files may be fetched from their publisher.
            report: takes lines.
        """


@runtime_checkable
class FindsClasses(Protocol):
    """A plugin without a definition that looks at its files for the classes they show."""

    def find_classes(self, root: Path, sources: Sequence[Path], report: Say) -> Found:
        """Return what masks below `root` and in `sources` show; arguments as of `Prepares.prepare`."""


@runtime_checkable
class TellsNotes(Protocol):
    """A plugin with something to tell about the records that it listed last."""

    notes: Sequence[str]
    """One line each, which are shown."""


@runtime_checkable
class TellsProblems(Protocol):
    """A plugin whose `prepare` finds what a training would refuse."""

    problems: Mapping[str, Sequence[str]]
    """Kind -> one line each; `semivl prepare data` counts them among its own findings."""


@runtime_checkable
class TellsValueRange(Protocol):
    """A plugin that knows which numbers of its images are shown black and white, where these have more than 8 bits."""

    value_range: Sequence[float] | None
    """Lowest and highest number, such as `(0, 4095)`; `None`: the range of their type (`data/read/brightness.py`)."""


@runtime_checkable
class TellsConsequences(Protocol):
    """A plugin whose problems leave images without a file, which is no problem of its own."""

    explained: Collection[str]
    """Ids of these images."""


@runtime_checkable
class MadeForClasses(Protocol):
    """A plugin whose masks were made for certain classes."""

    made_for: Sequence[str]
    """Their names, by id; a training with others is refused. None where masks are as their author made them."""


@runtime_checkable
class Converts(Protocol):
    """A plugin that makes masks of other files, which may change later."""

    options: Mapping[str, str]
    """Options of the `semivl prepare data` that calls `prepare` next, beside `--from`, with whole paths."""

    def check_masks(self, records: Iterable[Record]) -> None:
        """Raise `InputError` where masks are of files that changed since; every start asks for those that it reads."""

    def renewal(self, definition: str) -> str:
        """Return the command that makes the masks again, by another definition."""
