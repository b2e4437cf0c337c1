"""Lists what a training reads: labelled, unlabelled and validation records, checked before anything else happens."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from semivl_cli import run_files
from semivl_cli.class_ids import MOST_CLASSES
from semivl_cli.config import DataSettings
from semivl_cli.data.choose.duplicates import check_leaks
from semivl_cli.data.choose.recorded import recorded
from semivl_cli.data.choose.splits import choose_labeled, find_labeled
from semivl_cli.data.contract import Converts, Dataset, MadeForClasses, Record, Split, TellsNotes
from semivl_cli.data.pool.hidden_masks import Hidden
from semivl_cli.data.pool.records import Records, digest_of_ids, id_hash
from semivl_cli.data.pool.unlabeled import Pool, open_pool
from semivl_cli.data.read.brightness import ValueRange
from semivl_cli.data.read.images import check_size, image_size, label_name, read_label
from semivl_cli.data.registry import plugin_code
from semivl_cli.errors import InputError
from semivl_cli.files import is_file
from semivl_cli.processes import in_threads

MOST_LOOKED_FOR = 100_000
"""Unlabelled files up to which each is looked for at every start."""
_SAMPLE = 10_000
"""How many of more files are looked for, evenly spread."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """The records of one training; no id is in two of its parts."""

    labeled: tuple[Record, ...]
    unlabeled: Hidden | Pool
    """Images alone: their masks, if they have any, are hidden. Maybe a hundred million, so never turned into objects
    all together; the other two are few, as labels and evaluations are."""
    val: tuple[Record, ...]
    notes: tuple[str, ...]
    """What the user should know, one line each."""
    held_out: tuple[Record, ...] = ()
    """Images whose masks choose a step: neither labelled nor unlabelled, nor validation."""

    def split(self) -> dict[str, Any]:
        """Return the content of `split.json`; the order of the records does not change a hash."""
        parts = self.labeled, self.val, self.held_out
        labeled, val, held_out = ([record.id for record in records] for records in parts)
        hidden = self.unlabeled.digest()
        digests = [digest_of_ids(labeled), hidden, digest_of_ids(val), *([digest_of_ids(held_out)] if held_out else [])]
        own, added = (self.unlabeled, None) if isinstance(self.unlabeled, Hidden) else self.unlabeled.files
        few = {"ids": own, "added": added}.items()
        return {
            "labeled": labeled,
            **({"held_out": held_out} if held_out else {}),
            "unlabeled": {
                "count": len(self.unlabeled),
                "sha256": hidden,
                **{
                    key: [record.id for record in records]
                    for key, records in few
                    if records is not None and len(records) <= MOST_LOOKED_FOR
                },
            },
            "val": val,
            "sha256": hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        }


def find_root(dataset_name: str, root: str | Path | None) -> Path:
    """Return where a dataset lies: `root`, else `$SEMIVL_DATA/<dataset>`, else `data/<dataset>`; it need not exist."""
    if root is not None:
        return Path(root)
    return Path(os.environ.get("SEMIVL_DATA") or "data") / dataset_name


def build_index(
    dataset: Dataset,
    root: Path,
    data: DataSettings,
    *,
    seed: int,
    class_names: Sequence[str],
    definition: str = "",
    listed: tuple[Sequence[str], str] | None = None,
    split: run_files.Split | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Index:
    """List the records of a training.

    `data` says which images are labelled, which unlabelled ones there are beside the dataset's own, and whether absent
    files (images; masks of labelled and validation images) are refused or left out. `listed`, ids of the labelled
    images and where they were read, is stronger, and so is `split`: all images of a run that goes on. `seed` is that
    of the draw of labelled images; `definition` is where the classes were read, for messages; `say` takes a line when
    something takes long.

    Raises:
        InputError: if `root` does not hold the dataset, ids repeat or overlap, files are missing and refused, masks
            are out of date, or nothing is left to train with or to validate on.
    """
    if len(class_names) > MOST_CLASSES:
        raise InputError(f"the definition has {len(class_names)} classes, at most {MOST_CLASSES} are possible")
    train, val = list_records(dataset, root)
    check_made_for(dataset, class_names, definition)
    notes = tuple(dataset.notes) if isinstance(dataset, TellsNotes) else ()
    before = None if split is None else recorded(train, val, split, root, data.missing)
    if before is not None:
        train, val, kept, notes = before
        listed = kept, "split.json of the run"
    if listed is not None:
        chosen, note = find_labeled(train, *listed)
    else:
        chosen, note = choose_labeled(dataset, train, data.labels.amount, seed=seed, class_names=class_names)
    ids = {record.id for record in chosen}
    out = [number for number in map(int, train.labeled) if train[number].id in ids]
    absent: list[str] = []
    labeled = _present(chosen, absent)
    unlabeled = Hidden(train, out)
    gone, looked_for = _absent_images(unlabeled)
    absent += [str(unlabeled[position].image) for position in gone]
    checked = _present(val, absent)
    notes = (note, *notes)
    if looked_for < len(unlabeled):
        notes += (f"{looked_for} of the {len(unlabeled)} unlabelled files were looked for, evenly spread",)
    _refuse(dataset, root, absent, data.missing, remedy=", `--set data.missing=skip` goes on without")
    if absent:
        unlabeled = Hidden(train, [*out, *(unlabeled.number(position) for position in gone)])
        left = len(labeled) + len(unlabeled) + len(checked)
        notes += (f"{len(train) + len(val) - left} images are left out, because files are missing",)
    for name, records in (("labelled", labeled), ("validation", checked)):
        if not records:
            raise InputError(f"{root}: dataset {dataset.name!r} has no {name} image there")
    if isinstance(dataset, Converts):
        dataset.check_masks((*labeled, *checked))
    pool: Hidden | Pool = unlabeled
    if data.unlabeled:
        added = split.unlabeled.added if split is not None else None
        pool, found = open_pool(unlabeled, data.unlabeled, (*labeled, *checked), say, added, data.missing)
        notes += found
    return Index(labeled=labeled, unlabeled=pool, val=checked, notes=notes)


def list_validation(dataset: Dataset, root: Path, *, missing: Literal["refuse", "skip"]) -> tuple[Record, ...]:
    """List the records of the validation split alone, as an evaluation reads them.

    Raises:
        InputError: if files are missing and refused, masks are out of date, or nothing is left.
    """
    absent: list[str] = []
    with plugin_code(dataset, "listing its val images"):
        present = _present(dataset.records(root, "val"), absent)
    _refuse(dataset, root, absent, missing)
    if not present:
        raise InputError(f"{root}: dataset {dataset.name!r} has no validation image there")
    if isinstance(dataset, Converts):
        dataset.check_masks(present)
    return present


def check_made_for(dataset: Dataset, class_names: Sequence[str], definition: str) -> None:
    """Refuse masks that a plugin converted for other classes: `InputError` names the first class that differs.

    `definition` is where these classes were read.
    """
    if isinstance(dataset, MadeForClasses) and dataset.made_for and tuple(dataset.made_for) != tuple(class_names):
        number, old, new = first_difference(dataset.made_for, class_names)
        again = dataset.renewal(definition) if isinstance(dataset, Converts) else f"semivl prepare data {dataset.name}"
        raise InputError(
            f"the masks were converted for other classes: class {number} was {old!r}, the definition has {new!r}: run "
            f"`{again}`, with this definition"
        )


def first_difference(names: Sequence[str], others: Sequence[str]) -> tuple[int, str, str]:
    """Return the first class id at which two lists of classes differ, and what each has there."""
    pairs = enumerate(zip_longest(names, others, fillvalue="(none)"))
    return next((number, one, other) for number, (one, other) in pairs if one != other)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelCounts:
    """What the masks of a training hold."""

    labeled: tuple[int, ...]
    """Pixels of each class in the masks of all labelled images."""
    empty: tuple[str, ...]
    """Ids of the labelled images whose mask holds no class, only ignored pixels."""
    val: tuple[int, ...] | None
    """Pixels of each class in the validation masks; `None` where they are made while they are read."""
    labeled_sha256: str = ""
    """Of the class maps of the labelled images, held-out ones with them."""
    val_sha256: str = ""
    """Of the class maps of the validation images that are files."""


def check_labels(
    index: Index, dataset: Dataset, class_names: Sequence[str], value_range: ValueRange | None = None
) -> LabelCounts:
    """Read every mask file that a training needs, before anything long begins, and the labels that are made.

    Raises:
        InputError: if some cannot be used (names the first and their number), or a validation image is also a training
            image. Of more than `MOST_LOOKED_FOR` unlabelled images, the labelled alone are compared.
    """

    def pixels_of_classes(record: Record) -> tuple[NDArray[np.int64], bytes] | str:
        try:
            label = read_label(record, dataset, class_names)
            if not callable(record.label):
                check_size(label_name(record), label.shape, image_size(record.image))
        except InputError as error:
            return str(error)
        return np.bincount(label.ravel(), minlength=256), _digest(record.id, label)

    labeled = (*index.labeled, *index.held_out)
    val = tuple(record for record in index.val if not callable(record.label))
    found = [counted for _, counted in in_threads(pixels_of_classes, (*labeled, *val))]
    problems = [item for item in found if isinstance(item, str)]
    if problems:
        more = f" ({len(problems)} masks in all; semivl prepare data {dataset.name} lists them)" if problems[1:] else ""
        raise InputError(problems[0] + more)
    # Strangers may be absent, and copies among them are passed over when they are met.
    own = index.unlabeled.own if isinstance(index.unlabeled, Pool) else index.unlabeled
    others = own if len(own) <= MOST_LOOKED_FOR else ()
    train = (record.image for records in (labeled, others) for record in records)
    check_leaks(
        (image for image in train if isinstance(image, Path)),
        [record.image for record in index.val if isinstance(record.image, Path)],
        value_range,
    )
    counts = np.stack([item[0][: len(class_names)] for item in found if not isinstance(item, str)])
    digests = [item[1] for item in found if not isinstance(item, str)]
    trained = counts[: len(index.labeled)]
    return LabelCounts(
        labeled=tuple(trained.sum(axis=0).tolist()),
        empty=tuple(index.labeled[number].id for number in np.flatnonzero(trained.sum(axis=1) == 0)),
        val=tuple(counts[len(labeled) :].sum(axis=0).tolist()) if len(val) == len(index.val) else None,
        labeled_sha256=hashlib.sha256(b"".join(sorted(digests[: len(labeled)]))).hexdigest(),
        val_sha256=hashlib.sha256(b"".join(sorted(digests[len(labeled) :]))).hexdigest(),
    )


def _digest(record_id: str, label: NDArray[np.uint8]) -> bytes:
    """Return a hash of a class map, whatever file it came from."""
    name = f"{record_id} {label.shape} ".encode("utf-8", "surrogatepass")
    return hashlib.sha256(name + np.ascontiguousarray(label).tobytes()).digest()


def list_records(dataset: Dataset, root: Path) -> tuple[Records, Records]:
    """Return the training and validation records of a dataset; raises `InputError` where an id occurs twice."""
    train, val = (_listed(dataset, root, split) for split in ("train", "val"))
    nearest = np.minimum(np.searchsorted(train.hashes, val.hashes), max(len(train) - 1, 0))
    alike = set(val.hashes[train.hashes[nearest] == val.hashes].tolist()) if len(train) else set()
    suspects = {record.id for record in train if id_hash(record.id) in alike} if alike else set()
    shared = sorted(suspects & {record.id for record in val}) if suspects else []
    if shared:
        raise InputError(f"{root}: {len(shared)} ids are in both train and val, for example {shared[0]!r}")
    return train, val


def _listed(dataset: Dataset, root: Path, split: Split) -> Records:
    """Return the records of a split, each id once."""
    with plugin_code(dataset, f"listing its {split} images"):
        listed = dataset.records(root, split)
        records = listed if isinstance(listed, Records) else Records.of(listed, root)
    if (twice := records.first_repeated()) is not None:
        second = "rendered" if callable(twice.image) else twice.image
        raise InputError(f"{root}: two {split} images have the id {twice.id!r} ({second} is the second)")
    return records


def _absent_images(records: Sequence[Record]) -> tuple[list[int], int]:
    """Return the positions of image files that are absent, and how many files were looked for."""
    count = len(records)
    if count <= MOST_LOOKED_FOR:
        return [position for position, record in enumerate(records) if missing_files(record, label=False)], count
    positions = range(0, count, count // _SAMPLE)
    # Files may lie on a network, which answers many at once.
    looked_for = in_threads(lambda position: missing_files(records[position], label=False), positions)
    return [position for position, absent in looked_for if absent], len(positions)


def missing_files(record: Record, *, label: bool) -> tuple[str, ...]:
    """Return the files of a record that are absent: its image and, if asked for, its mask."""
    sources = (record.image, record.label) if label else (record.image,)
    absent = [str(source) for source in sources if isinstance(source, Path) and not is_file(source)]
    if label and record.label is None:
        absent.append(f"the mask of {record.id!r}")
    return tuple(absent)


def _refuse(
    dataset: Dataset, root: Path, absent: Sequence[str], missing: Literal["refuse", "skip"], remedy: str = ""
) -> None:
    if absent and missing == "refuse":
        look = shlex.join(["semivl", "prepare", "data", dataset.name, "--root", str(root)])
        raise InputError(
            f"{len(absent)} {'file is' if len(absent) == 1 else 'files are'} missing, the first is {absent[0]}: "
            f"`{look}` lists what is there{remedy}"
        )


def _present(records: Iterable[Record], absent: list[str]) -> tuple[Record, ...]:
    """Return the records whose image and mask are there, and add what is not to `absent`."""
    present = []
    for record in records:
        gone = missing_files(record, label=True)
        absent.extend(gone)
        if not gone:
            present.append(record)
    return tuple(present)
