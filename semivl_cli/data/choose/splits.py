"""Decides which training images are labelled: all, the protocol's own list, a seeded class-covering draw, a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from semivl_cli.data.contract import Dataset, Record
from semivl_cli.data.ids import composed, read_ids
from semivl_cli.data.pool.records import Records
from semivl_cli.data.read.images import read_label
from semivl_cli.data.registry import find_package_file
from semivl_cli.documents import as_type, load_toml, read_bytes
from semivl_cli.errors import InputError
from semivl_cli.files import is_file
from semivl_cli.labels_option import Amount
from semivl_cli.processes import in_threads

Choice = tuple[tuple[Record, ...], str]
"""The labelled images, in the order of the records, and a line that says where they come from."""


def choose_labeled(
    dataset: Dataset, train: Sequence[Record], labels: Amount, *, seed: int, class_names: Sequence[str]
) -> Choice:
    """Choose the labelled images among all training records.

    The package of the plugin may hold `splits/labeled-<N>.txt` and `splits/fractions.toml`. A count without a list of
    its own is drawn with `seed`, so that the images show all `class_names` where the count allows.

    Raises:
        InputError: if `labels` asks for labels that are not there, or names no file of ids.
    """
    if isinstance(train, Records):
        with_label = tuple(train[int(number)] for number in train.labeled)
    else:
        with_label = tuple(record for record in train if record.label is not None)
    if not with_label:
        raise InputError(f"none of the {len(train)} training images of dataset {dataset.name!r} has a mask")
    if labels == "all":
        return with_label, f"every mask is a label: {len(with_label)}"
    if isinstance(labels, Path):
        if not labels.is_file():
            raise InputError(
                f"labels {str(labels)!r}: expected all, a count of at least 1 (92), a fraction (1/8 or 0.1), or a file "
                "of ids"
            )
        return find_labeled(train, read_ids(labels), str(labels))
    if isinstance(labels, Fraction):
        labels = labeled_fractions(dataset).get(labels, math.ceil(labels * len(train)))
    listed = find_package_file(dataset, f"splits/labeled-{labels}.txt")
    if listed is None:
        return _draw(dataset, with_label, labels, seed, class_names)
    return find_labeled(train, read_ids(listed), str(listed))[0], f"{labels} labels: the protocol's own list"


def labeled_fractions(dataset: Dataset) -> dict[Fraction, int]:
    """Return the fractions that head the columns of the protocol's table, and the lists that they mean.

    Raises `InputError` where the plugin's `splits/fractions.toml` is broken.
    """
    path = find_package_file(dataset, "splits/fractions.toml")
    if path is None:
        return {}
    try:
        counts = as_type(load_toml(read_bytes(path), str(path)), dict[str, Annotated[int, Field(ge=1)]], str(path))
        return {Fraction(fraction): count for fraction, count in counts.items()}
    except (InputError, ValueError, ZeroDivisionError) as error:
        raise InputError(f'{path}: expected lines such as "1/8" = 372 ({error})') from error


def has_mask(record: Record) -> bool:
    """Whether a record has a mask, and not one whose file is absent."""
    return record.label is not None and (not isinstance(record.label, Path) or is_file(record.label))


def find_labeled(train: Sequence[Record], ids: Sequence[str], listed: str) -> Choice:
    """Choose the records of `ids`.

    Raises:
        InputError: if there is none, or one is no training image or has no mask; `listed` says where they were read.
    """
    if not ids:
        raise InputError(f"{listed}: the list of labelled ids is empty")
    wanted = set(ids)
    known = {record.id: record for record in train if record.id in wanted}
    if len(known) < len(wanted):  # accents may be composed in a list and not on the disk
        alike = {composed(name): name for name in ids if name not in known}
        others = ((alike.get(composed(record.id)), record) for record in train if record.id not in known)
        known |= {name: record for name, record in others if name is not None}
    strangers = [name for name in ids if name not in known]
    if strangers:
        raise InputError(
            f"{listed}: {len(strangers)} of {len(ids)} ids are no training image, the first is {strangers[0]!r}"
        )
    bare = [name for name in ids if known[name].label is None]
    if bare:
        raise InputError(f"{listed}: {len(bare)} of {len(ids)} images have no mask, the first is {bare[0]!r}")
    return tuple(known.values()), f"{len(known)} labels: listed in {listed}"


def _draw(dataset: Dataset, with_label: Sequence[Record], count: int, seed: int, class_names: Sequence[str]) -> Choice:
    records = tuple(filter(has_mask, with_label))
    if count > len(records):
        raise InputError(f"{count} labelled images are asked for, but only {len(records)} training images have a mask")
    if count == len(records):
        return records, f"every mask is a label: {count}"
    shows = classes_shown(dataset, records, class_names)
    order = np.random.default_rng(np.random.SeedSequence(seed)).permutation(len(records))
    chosen = np.sort(order[cover(shows[order], count)])
    absent = shows.any(axis=0) & ~shows[chosen].any(axis=0)
    note = f"{count} labels: drawn with seed {seed} so that they show the classes"
    if absent.any():
        note += f", except {', '.join(np.asarray(class_names)[absent])}"
    return tuple(records[number] for number in chosen), note


def classes_shown(dataset: Dataset, records: Sequence[Record], class_names: Sequence[str]) -> NDArray[np.bool_]:
    """Read masks and return bool `[records, N]`: which classes each of them shows."""

    def shown(record: Record) -> NDArray[np.bool_]:
        ids = read_label(record, dataset, class_names)
        return np.bincount(ids.ravel(), minlength=256)[: len(class_names)] > 0

    return np.stack([classes for _, classes in in_threads(shown, records)])


def cover(shows: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """Choose `count` rows of bool `[images, N]` so that their classes cover all that occur, where the count allows.

    The rarest class that is not covered yet goes first and takes the first image that shows it; when there are fewer
    images left to choose than classes to cover, the image that shows most of them. The rest are the first ones.

    Returns:
        The chosen rows, `count` different numbers.
    """
    chosen: list[int] = []
    rarity = shows.sum(axis=0)
    open_classes = rarity > 0
    while open_classes.any() and len(chosen) < count:
        gain = (shows & open_classes).sum(axis=1)
        if open_classes.sum() <= count - len(chosen):
            rarest = np.where(open_classes, rarity, len(shows) + 1).argmin()
            chosen.append(int(shows[:, rarest].argmax()))
        else:
            chosen.append(int(gain.argmax()))
        open_classes &= ~shows[chosen[-1]]
    rest = np.setdiff1d(np.arange(len(shows)), chosen)
    return np.array([*chosen, *rest[: count - len(chosen)]], dtype=np.intp)
