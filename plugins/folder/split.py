"""Decides which images of a folder dataset train and which validate: lists, else a tenth of the masks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from semivl_cli.data.annotation.exported_split import ExportedSplit
from semivl_cli.data.ids import composed, read_ids
from semivl_cli.errors import InputError
from semivl_cli.files import bare

from .listing import Entry, Listing


@dataclass(frozen=True, kw_only=True)
class Division:
    """The entries of a dataset, divided."""

    listing: Listing
    train_list: Sequence[Entry] | None
    """What `train.txt` names; without it, every entry that is not validation."""
    val: Sequence[Entry]
    left_out: Collection[str]
    """Ids of images that neither train nor validate: the exporter's test set."""
    orphans: Sequence[Entry]
    """Masks without image: their images are named all the same, so that they count as missing."""
    notes: tuple[str, ...]

    def train(self) -> Iterator[Entry]:
        """Yield the entries to train with."""
        held_out = {entry.id for entry in self.val} | set(self.left_out)
        if self.train_list is not None:
            yield from self.train_list
        else:
            yield from (entry for entry in self.listing.entries() if entry.id not in held_out)
        named = held_out | {entry.id for entry in self.train_list or ()}
        yield from (entry for entry in self.orphans if entry.id not in named)


def divide(
    listing: Listing, unmatched: Sequence[str] = (), exported: Mapping[str, ExportedSplit] | None = None
) -> Division:
    """Divide the entries by `train.txt` and `val.txt`, or as their exporter did; else a tenth of the masks validates.

    Where there is a list, what the exporter did does not count.

    Args:
        listing: of the entries.
        unmatched: images that annotations name and that are not there.
        exported: id -> what the annotations hold an image for; else the folders say it in which images lie.

    Raises:
        InputError: if there is no image, a list cannot be read, or a single labelled image would have to do for both.
    """
    root = listing.root
    lists = {name: read_ids(root / f"{name}.txt") for name in ("train", "val") if (root / f"{name}.txt").is_file()}
    wanted = {composed(form) for names in lists.values() for name in names for form in _forms(name)}
    of_pool = {composed(form) for name in lists["train"] for form in _forms(name)} if "train" in lists else None
    found: dict[str, list[Entry]] = {}
    labeled: list[str] = []
    held: dict[str, ExportedSplit] = {}
    count = 0
    for entry in listing.entries():
        count += 1
        split, name = (exported or {}).get(entry.id, entry.split), composed(entry.id)
        if name in wanted:
            found.setdefault(name, []).append(entry)
        if not lists and split in ("val", "test"):
            held[entry.id] = split
        if "val" not in lists and entry.mask is not None and (of_pool is None or name in of_pool):
            labeled.append(entry.id)
    if not count:
        raise InputError(_no_image(listing))

    notes = list(listing.notes)
    if labeled and all(name in held for name in labeled):
        held.clear()
        notes.append("by their folder or their export all masks are for validation or a test: they are divided anew")
    left_out = {name for name, split in held.items() if split == "test"}
    labeled = [name for name in labeled if name not in left_out]
    chosen = {name for name in labeled if name in held}
    orphans = sorted(listing.orphans())
    if orphans:
        some = "1 mask has" if len(orphans) == 1 else f"{len(orphans)} masks have"
        notes.append(f"{some} no image, for example {orphans[0]!r}")
    if left_out:
        notes.append(f"{len(left_out)} images are a test set by their folder or their export: left out")
    if "val" in lists:
        val = [_entry(name, found, root) for name in lists["val"]]
    else:
        why = "by their folder or their export" if chosen else "no val.txt"
        chosen = chosen or _tenth(labeled)
        val = [entry for entry in listing.entries() if entry.id in chosen]
        notes.append(f"{len(val)} of the {len(labeled)} masks are validation: {why}")
    held_out = {entry.id for entry in val}
    named = (bare(name) for name in unmatched if "\0" not in name)  # which no file can be called
    absent = dict.fromkeys([*orphans, *named])
    train = None
    if "train" in lists:
        train = [_entry(name, found, root) for name in lists["train"]]
        if "val" not in lists:
            train = [entry for entry in train if entry.id not in held_out]
    return Division(
        listing=listing,
        train_list=train,
        # A mask that is absent is named all the same, so that it counts as missing.
        val=[entry if entry.mask else entry._replace(mask=root / "masks" / f"{entry.id}.png") for entry in val],
        left_out=left_out,
        orphans=[Entry(name, root / "images" / name, root / "masks" / f"{name}.png") for name in absent],
        notes=tuple(notes),
    )


def _no_image(listing: Listing) -> str:
    """Say that there is no image, and which files are there instead."""
    instead = f" that is read, {listing.passed_over()}" if listing.passed_over() else ""
    return f"{listing.root / 'images'} holds no image{instead}: expected files such as .jpg, .png, .tif at any depth"


def _entry(name: str, found: Mapping[str, Sequence[Entry]], root: Path) -> Entry:
    """Return what a list names, be accents composed or not; what is absent, or might be two, counts as missing."""
    for form in _forms(name):
        alike = found.get(composed(form), ())
        for entry in alike:
            if entry.id == form or len(alike) == 1:
                return entry
    return Entry(name, root / "images" / name, None)


def _forms(name: str) -> tuple[str, ...]:
    """Return the ids that a line of a list may mean: `street.jpg` and `images/street.jpg` mean `street`."""
    bare = name.removesuffix(Path(name).suffix)
    return name, bare, bare.removeprefix("./").removeprefix("images/")


def _tenth(labeled: Sequence[str]) -> set[str]:
    """Choose a tenth, at least one, by a hash of the ids, so that more images hardly change the choice."""
    if len(labeled) == 1:
        raise InputError(f"only {labeled[0]!r} has a mask: training and validation need one each")
    by_hash = sorted(labeled, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
    return set(by_hash[: max(round(len(labeled) / 10), 1)])
