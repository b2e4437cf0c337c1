"""Which pictures `semivl predict` reads, and where what becomes of them is written, before any model is loaded."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from semivl_cli.errors import InputError, listed
from semivl_cli.files import fitting, folds_case, is_image, walk
from semivl_cli.palette import is_ours, is_replaceable

OVERLAYS = "overlays"
"""Folder of the overlays, below that of the masks."""
LEGEND = "legend.png"
"""What the overlays' colours mean, beside them."""

_EXPECTED = "expected image files, folders of them, or patterns such as 'day/*.jpg'"


class Job(NamedTuple):
    """One picture to segment."""

    image: Path
    mask: Path
    overlay: Path


class Failure(NamedTuple):
    """What was given or found, and why nothing becomes of it."""

    image: Path
    error: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a prediction does."""

    jobs: tuple[Job, ...]
    unreadable: tuple[Failure, ...]
    """What cannot even be looked at: broken links, folders that are locked."""
    notes: tuple[str, ...]
    """What was passed over, a line each."""

    def __len__(self) -> int:
        """How many results are to be expected."""
        return len(self.jobs) + len(self.unreadable)


def plan_predictions(inputs: Sequence[Path], out: Path, *, overlays: bool = False, legend: bool = False) -> Plan:
    """List what to read and where to write it.

    `inputs`: files, folders that are searched to any depth, or patterns. The masks are
    `<out>/<path relative to the input folder>/<stem>.png`; where inputs would share one, their names keep the suffix.
    `<out>/overlays/` holds the overlays in the same order. What semivl has written is no input, unless it is named.

    Raises:
        InputError: an input does not exist, a folder holds no image, or something would be overwritten that is an input
            or was not written by semivl.
    """
    _check_folder(out)
    if {os.path.realpath(given) for given in inputs} == {os.path.realpath(out)}:
        raise InputError(f"--out {out} is the input folder itself: give the masks a folder of their own")
    found = _Found()
    for given in inputs:
        _find(given, found)
    if not found.pictures and not found.unreadable:
        besides = f"; passed over: {found.passed_over}" if found.passed_over else ""
        where = listed([str(given) for given in inputs], 3)
        raise InputError(f"{where} holds no image: expected files such as .jpg, .png, .tif at any depth{besides}")
    jobs = _name_outputs(found.pictures, out)
    targets = [job.mask for job in jobs] + [job.overlay for job in jobs if overlays]
    if legend and (key := out / OVERLAYS / LEGEND) in targets:
        raise InputError(
            f"{key} would be the legend and a mask: leave out --legend, or give folders above the picture's"
        )
    _check_targets([*targets, *([out / OVERLAYS / LEGEND] if legend else [])], found.seen)
    notes = [*found.notes, *(f"{given} holds no image" for given in found.empty)]
    if found.passed_over:
        notes.append(f"passed over: {found.passed_over}")
    return Plan(jobs=tuple(jobs), unreadable=tuple(found.unreadable), notes=tuple(notes))


Identity = tuple[int, int]
"""Device and number of a file, the same for all its names."""


@dataclass
class _Found:
    """What was found so far."""

    pictures: dict[tuple[Identity, Path], Path] = field(default_factory=dict)
    """File and path relative to its input folder -> where it is read: what is given twice counts once."""
    seen: dict[Identity, Path] = field(default_factory=dict)
    unreadable: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    strangers: Counter[str] = field(default_factory=Counter)
    """Suffixes of files that are no pictures by their names."""
    ours: int = 0
    empty: list[Path] = field(default_factory=list)
    """Folders without any picture."""

    @property
    def looked_at(self) -> int:
        """How many pictures were met, whatever became of them."""
        return len(self.pictures) + len(self.unreadable) + self.ours

    def add(self, path: Path, relative: Path, state: os.stat_result) -> None:
        identity = (state.st_dev, state.st_ino)
        self.seen.setdefault(identity, path)
        self.pictures.setdefault((identity, relative), path)

    def fail(self, path: Path, error: str) -> None:
        self.unreadable.append(Failure(path, error))

    @property
    def passed_over(self) -> str:
        """What was no input, counted by suffix."""
        kinds = [f"{count} {suffix or 'without a suffix'}" for suffix, count in self.strangers.most_common()]
        parts = [f"{listed(kinds, 10)} (no images by their names; name a file to have it tried)"] if kinds else []
        return ", ".join([*parts, *([f"{self.ours} that semivl wrote"] if self.ours else [])])


def _find(given: Path, found: _Found) -> None:
    """Add what an input names."""
    try:
        state = given.stat()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not given.is_symlink():
            _find_fitting(given, found)
        else:
            found.fail(given, _why(given, error))
        return
    if stat.S_ISDIR(state.st_mode):
        _search(given, found)
    elif stat.S_ISREG(state.st_mode):
        found.add(given, Path(given.name), state)
    else:
        found.fail(given, f"{given} is neither a file nor a folder")


def _find_fitting(given: Path, found: _Found) -> None:
    """Add the images and folders that fit a pattern, which some shells leave as it is."""
    if not any(sign in str(given) for sign in "*?["):
        raise InputError(f"{given} does not exist: {_EXPECTED}")
    names = sorted(set(fitting(str(given))))
    if not names:
        raise InputError(f"no file fits the pattern {given}: {_EXPECTED}")
    for path in map(Path, names):
        if path.is_dir():
            _search(path, found)
        else:
            _look_at(path, Path(path.name), found)


def _search(folder: Path, found: _Found) -> None:
    """Add the pictures below a folder."""
    before = found.looked_at
    for content in walk(folder, found.notes.append, lambda path, error: found.fail(path, str(error))):
        for name in content.files:
            path = content.folder / name
            _look_at(path, path.relative_to(folder), found)
    if found.looked_at == before:
        found.empty.append(folder)


def _look_at(path: Path, relative: Path, found: _Found) -> None:
    """Add a file that was not named itself, if it is a picture of the user's."""
    try:
        state = path.stat()
    except OSError as error:  # whatever its name: the link may have led to a folder
        found.fail(path, _why(path, error))
        return
    if not is_image(path.name):
        found.strangers[path.suffix.lower()] += 1
    elif not stat.S_ISREG(state.st_mode):
        found.fail(path, f"{path} is no file that can be read")
    elif is_ours(path):
        found.ours += 1
    else:
        found.add(path, relative, state)


def _why(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return f"{path} is a broken link: {path.readlink()} does not exist"
    return f"{path} cannot be read ({error.strerror or error})"


def _name_outputs(pictures: Mapping[tuple[Identity, Path], Path], out: Path) -> list[Job]:
    """Name mask and overlay of each picture, in order; raises `InputError` where two would have one."""
    found = sorted((path, relative) for (_, relative), path in pictures.items())
    names = [relative.with_suffix("") for _, relative in found]
    key = _same_name(names, out)
    while True:
        shared = Counter(map(key, names))
        # Whoever has the name of another keeps its suffix; that may be the stem of a third.
        longer = [relative if shared[key(name)] > 1 else name for name, (_, relative) in zip(names, found, strict=True)]
        if longer == names:
            break
        names = longer
    if twice := next((name for name in names if shared[key(name)] > 1), None):
        both = [str(path) for name, (path, _) in zip(names, found, strict=True) if key(name) == key(twice)]
        raise InputError(
            f"{' and '.join(both[:2])} would both become {out / twice}.png: predict them into different folders"
        )
    return [
        Job(path, out / name.parent / f"{name.name}.png", out / OVERLAYS / name.parent / f"{name.name}.jpg")
        for name, (path, _) in zip(names, found, strict=True)
    ]


def _same_name(names: Sequence[Path], out: Path) -> Callable[[Path], str]:
    """Return what two names have in common that are one name on the disk of `out`."""

    def folded(name: Path) -> str:
        return unicodedata.normalize("NFC", str(name)).casefold()

    if len({folded(name) for name in names}) < len(set(names)) and folds_case(_there(out)):
        return folded
    return str


def _there(folder: Path) -> Path:
    """Return a folder, or the nearest above it that exists."""
    return next(one for one in (folder, *folder.absolute().parents) if os.path.exists(one))  # noqa: PTH110 - a Path raises


def _check_folder(out: Path) -> None:
    """Refuse what is no folder, or cannot be written to."""
    if os.path.lexists(out) and not os.path.isdir(out):  # noqa: PTH112 - a Path raises where nobody may look
        raise InputError(f"--out {out} is a file: expected a folder for the masks")
    if not os.access(_there(out), os.W_OK | os.X_OK):
        raise InputError(f"--out {out}: nothing can be written in {_there(out)}: give another folder")


def _check_targets(targets: Sequence[Path], inputs: Mapping[Identity, Path]) -> None:
    """Refuse to overwrite an input, or what semivl has not written; links that lead nowhere are somebody's too."""
    for folder in dict.fromkeys(path.parent for path in targets):
        blocked = next((one for one in (folder, *folder.parents) if os.path.lexists(one)), folder)
        if os.path.lexists(blocked) and not blocked.is_dir():
            raise InputError(f"{blocked} is no folder, and {folder} is to be one: give another --out")
    for path in filter(os.path.lexists, targets):
        if not is_replaceable(path):
            raise InputError(
                f"{path} exists and was not written by semivl predict: it may be a label; give another --out"
            )
        state = path.stat()
        if (given := inputs.get((state.st_dev, state.st_ino))) is not None:
            raise InputError(f"{path} would be overwritten, and is the input {given}: give another --out")
