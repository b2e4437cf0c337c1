"""Unlabelled images from anywhere beside a dataset's own: folders, patterns, lists and tar shards, in one sequence."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from semivl_cli.data.contract import Record, Source
from semivl_cli.data.pool.hidden_masks import Hidden
from semivl_cli.data.pool.records import Listed, Records
from semivl_cli.data.pool.shards import Shard, open_shards
from semivl_cli.data.pool.shuffle import Blocks, shuffled
from semivl_cli.data.read.known_files import KnownFiles
from semivl_cli.errors import InputError
from semivl_cli.files import fitting, image_suffixes, walk

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SHARD = ".tar"
_EXPECTED = "a folder, an image, a .tar shard, a .txt list of paths, or a pattern such as shards-{000..999}.tar"


class Pool(Listed):
    """A dataset's unlabelled images, then loose files, then the images of shards; the last two are strangers to it."""

    def __init__(self, own: Hidden, loose: Records, shards: Sequence[Shard], known: KnownFiles) -> None:
        self.own, self.loose, self.shards = own, loose, tuple(shards)
        self._known = known
        counts = [len(own), len(loose), *(shard.images for shard in shards)]
        self._ends = np.cumsum(counts)
        self._blocks = Blocks(counts) if shards else None

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _at(self, number: int) -> Record:
        part = int(np.searchsorted(self._ends, number, side="right"))
        within = number - (int(self._ends[part - 1]) if part else 0)
        if part < 2:
            return (self.own, self.loose)[part][within]
        shard = self.shards[part - 2]
        return Record(id=f"{shard.path}#{within}", image=shard.entry(within))

    @property
    def files(self) -> tuple[Hidden, Records]:
        """The dataset's own images, and the loose files."""
        return self.own, self.loose

    def is_known(self, number: int, source: Source) -> bool:
        """Whether the image of that number, which `source` reads, is a copy of a labelled or validation image."""
        return number >= len(self.own) and not callable(source) and self._known.twin(source) is not None

    def at(self, position: int, key: Sequence[int]) -> int:
        """Return the number of the image at a position of a shuffle; where there are shards, of `Blocks`."""
        return shuffled(position, len(self), key) if self._blocks is None else self._blocks.at(position, key)

    def digest(self) -> str:
        """Return a SHA-256 of the ids, and of name, size and number of images of each shard."""
        lines = sorted(f"{shard.path.name} {shard.bytes} {shard.images}" for shard in self.shards)
        text = "\n".join([self.own.digest(), self.loose.digest(), *lines])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def open_pool(
    own: Hidden,
    given: Sequence[str],
    taken: Sequence[Record],
    say: Callable[[str], None],
    only: Sequence[str] | None = None,
    missing: Literal["refuse", "skip"] = "refuse",
) -> tuple[Pool, tuple[str, ...]]:
    """Find the images that the user adds to a dataset's `own` unlabelled ones; returns all and what is worth telling.

    Each of `given` is a folder (images and shards at any depth), an image, a `.tar` shard, a pattern (`*`, `?`, `**`,
    `{000..999}`), or a list (`.txt`): a path a line, relative to the list's folder. What lies at the paths of `taken`,
    labelled and validation records, is left out. `say` takes a line when something takes long. `only`, of a run that
    goes on: the files that it began with; others are left out, and absent ones refused or left out as `missing` says.

    Raises:
        InputError: if something given is absent, holds no image, is given twice, or is a shard that cannot be used.
    """
    shards: dict[Path, None] = {}
    paths = {os.path.abspath(record.image) for record in taken if isinstance(record.image, Path)}  # noqa: PTH100 - keeps links
    left_out = later = 0
    began_with, absent = frozenset(only or ()), set(only or ())

    def loose() -> Iterator[Record]:
        nonlocal left_out, later
        for entry in given:
            count = 0
            for path in _files(entry):
                count += 1
                if path.suffix.lower() == _SHARD:
                    if path in shards:
                        raise InputError(f"data.unlabeled: {path} is given twice, the second time by {entry}")
                    shards[path] = None
                elif str(path) in paths:
                    left_out += 1
                elif only is not None and str(path) not in began_with:
                    later += 1
                else:
                    absent.discard(str(path))
                    yield Record(id=str(path), image=path)
            if not count:
                raise InputError(f"data.unlabeled: {entry} holds no image: expected {_EXPECTED}")

    files = Records.of(loose(), Path(given[0]).absolute())
    if (twice := files.first_repeated()) is not None:
        raise InputError(f"data.unlabeled: {twice.id} is given twice")
    if absent and missing == "refuse":
        raise InputError(
            f"{len(absent)} of the images that data.unlabeled gave the run when it began are gone, the first is "
            f"{min(absent)}: put them back, or go on without them: --set data.missing=skip"
        )
    known = KnownFiles(record.image for record in taken if not callable(record.image))
    known.read_all()
    pool = Pool(own, files, open_shards(tuple(shards), say), known)
    bare = [shard.path for shard in pool.shards if not shard.images]
    if bare and len(pool) == len(own) and not left_out:
        raise InputError(f"data.unlabeled: {bare[0]} holds no image: expected members such as KEY.jpg or KEY.png")
    notes = [f"{len(pool) - len(own)} unlabelled images come from data.unlabeled ({len(shards)} tar shards)"]
    if bare:
        notes.append(f"tar shards without an image: {len(bare)}, the first is {bare[0]}")
    if left_out:
        notes.append(f"{left_out} images of data.unlabeled are labelled or validation images: left out")
    if later or absent:
        notes.append(f"data.unlabeled: {later} images that came since the run began stay out, {len(absent)} are gone")
    return pool, tuple(notes)


def _files(entry: str) -> Iterator[Path]:
    """Yield the images and shards that an entry names, in a stable order."""
    path = Path(entry)
    if path.is_dir():
        yield from (found.folder / name for found in walk(path.absolute()) for name in found.files if _is_taken(name))
    elif path.is_file():
        if _is_taken(path.name):
            yield path.absolute()
        elif path.suffix.lower() in (".txt", ".lst", ".list"):
            yield from _listed(path)
        else:
            raise InputError(f"data.unlabeled: {entry} is none of: {_EXPECTED}")
    elif _RANGE.search(entry):
        names = tuple(_expanded(entry))
        if absent := next((name for name in names if not Path(name).exists()), None):
            raise InputError(f"data.unlabeled: {absent} does not exist ({entry} names it)")
        for name in names:
            yield from _files(name)
    elif any(sign in entry for sign in "*?["):
        for name in sorted(set(fitting(entry))):
            if Path(name).is_file() and _is_taken(name):
                yield Path(name).absolute()
    else:
        raise InputError(f"data.unlabeled: {entry} does not exist: expected {_EXPECTED}")


def _listed(path: Path) -> Iterator[Path]:
    """Yield the paths that a list names, one a line, relative to its folder."""
    folder = path.absolute().parent
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
            for number, line in enumerate(lines, 1):
                name = line.rstrip("\r\n")
                if name.strip():
                    if not _is_taken(name) or "\0" in name:
                        raise InputError(f"{path}:{number}: {name!r} is neither an image nor a .tar shard by its name")
                    yield folder / name
    except OSError as error:
        raise InputError(f"{path}: the list cannot be read ({error.strerror})") from error


def _expanded(entry: str) -> Iterator[str]:
    """Write out `{000..999}`, as a shell does: with leading zeros where the first number has them."""
    pieces = _RANGE.split(entry)  # text, first, last, text, first, last, text
    ranges = [
        [f"{number:0{len(first) if first.startswith('0') else 0}d}" for number in range(int(first), int(last) + 1)]
        for first, last in zip(pieces[1::3], pieces[2::3], strict=True)
    ]
    for numbers in itertools.product(*ranges):
        yield "".join(itertools.chain.from_iterable(itertools.zip_longest(pieces[::3], numbers, fillvalue="")))


def _is_taken(name: str) -> bool:
    """Whether a file is an image or a shard, by its name."""
    suffix = Path(name).suffix.lower()
    return suffix == _SHARD or suffix in image_suffixes()
