"""Looks at every file of a dataset and tells what is there, and what training would refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semivl_cli.class_ids import IGNORE
from semivl_cli.data.choose.duplicates import Fingerprints, difference_hash, same_images
from semivl_cli.data.choose.faint import too_faint
from semivl_cli.data.choose.index import list_records, missing_files
from semivl_cli.data.choose.splits import has_mask
from semivl_cli.data.contract import Dataset, Record, Source, Split, TellsConsequences, TellsNotes, TellsProblems
from semivl_cli.data.pool.records import Records
from semivl_cli.data.read.images import (
    check_size,
    label_name,
    label_of,
    read_raw_label,
    read_thumbnail,
    value_range_of,
)
from semivl_cli.data.read.known_files import File, content_hash
from semivl_cli.errors import InputError, listed
from semivl_cli.processes import in_threads

_MISSING = "files missing"


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitCount:
    """How many images a split lists, and how many of them have a mask file."""

    images: int
    with_mask: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What a look at a whole dataset found."""

    splits: Mapping[Split, SplitCount]
    class_shares: Mapping[str, float]
    """Class -> share 0..1 of the pixels that belong to a class, over all masks."""
    class_images: Mapping[str, int]
    """Class -> number of masks that show it."""
    ignored_share: float
    """Share 0..1 of all mask pixels that are ignored."""
    problems: tuple[str, ...]
    """What training would refuse, one line a kind, with the count and the first example."""
    notes: tuple[str, ...]
    """What is worth knowing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Finding:
    """What reading one record gave: pixels per class id, or nothing, and the problems."""

    record: Record
    split: Split
    position: int
    """Of the record in its split."""
    kind: str = ""
    problems: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    difference: int | None = None
    """Difference hash of the image."""
    faint: bool = False
    """Whether the image uses little of the range of its numbers."""
    content: bytes | None = None
    """Hash of its file."""
    pixels: NDArray[np.int64] | None = None  # [256], of each class id
    values: tuple[int, ...] = ()
    """Raw values in the mask."""


def survey(dataset: Dataset, root: Path, class_names: Sequence[str]) -> Survey:
    """Read all images and masks below `root` once.

    Raises:
        InputError: if `root` does not hold the dataset at all, or its ids repeat or overlap.
    """
    by_split: dict[Split, Records] = dict(zip(("train", "val"), list_records(dataset, root), strict=True))
    splits = {
        split: SplitCount(images=len(records), with_mask=sum(has_mask(record) for record in records))
        for split, records in by_split.items()
    }
    explained = set(dataset.explained) if isinstance(dataset, TellsConsequences) else set()
    told = {kind: set(found) for kind, found in dataset.problems.items()} if isinstance(dataset, TellsProblems) else {}
    problems = _problems_of_splits(dataset, root, {} if explained else splits)
    pixels, images = np.zeros(256, np.int64), np.zeros(256, np.int64)
    sizes: Counter[tuple[int, int]] = Counter()
    values: Counter[int] = Counter()
    prints = {split: Fingerprints() for split in by_split}
    plain: list[str] = []
    faint: list[str] = []
    jobs = ((record, split, position) for split, records in by_split.items() for position, record in enumerate(records))
    for _, finding in in_threads(lambda job: _examine(*job, dataset, class_names), jobs):
        if finding.problems and not (finding.record.id in explained and finding.kind == _MISSING):
            known = told.get(finding.kind, ())
            new = [problem for problem in finding.problems if problem not in known]
            problems.setdefault(finding.kind, []).extend(new)
        if finding.size is not None:
            sizes[finding.size] += 1
            faint += [finding.record.id] * finding.faint
            if finding.difference is None:
                plain.append(finding.record.id)
            elif finding.content is not None:
                prints[finding.split].add(finding.position, finding.content, finding.difference)
        if finding.pixels is not None:
            pixels += finding.pixels
            images += finding.pixels > 0
            values.update(finding.values)
    same, alike = same_images(
        prints["train"],
        prints["val"],
        lambda split, at: _file(by_split[split][at].image),
        value_range_of(dataset),
    )
    if same:
        problems["images in both train and val"] = [f"{one} is the same image as {other}" for one, other in same]

    names = list(class_names)
    shown = pixels[: len(names)]
    absent = [name for name, count in zip(names, shown, strict=True) if count == 0]
    if shown.any() and shown[1:].sum() == 0 and pixels[IGNORE] > 0:
        problems["masks hold nothing but class 0 and ignored pixels"] = [
            f"if {IGNORE} means {names[-1]!r}, dataset.toml must say values = {{ 0 = 0, {IGNORE} = {len(names) - 1} }}"
        ]
    if pixels[IGNORE] > 0 and not shown.any():
        problems["masks show no class"] = [f"all of their pixels are ignored ({pixels[IGNORE]})"]
    notes = [*dataset.notes] if isinstance(dataset, TellsNotes) else []
    bare = splits["train"].images - splits["train"].with_mask
    if bare:
        notes.append(f"{bare} of {splits['train'].images} training images have no mask: they can only be unlabelled")
    elif splits["train"].images:
        notes.append(
            "every training image has a mask: where all are labels, nothing is left to be unlabelled; --labels N hides "
            "the others, --unlabeled adds images, --method supervised needs none"
        )
    if shown.any() and absent:
        notes.append(f"classes in no mask: {', '.join(absent)}")
    notes += [too_faint(len(faint), sizes.total(), faint[0])] if faint else []
    notes += [*_size_notes(sizes), *_value_notes(values), *_likeness_notes(prints, alike, plain)]
    return Survey(
        splits=splits,
        class_shares=dict(zip(names, (shown / max(shown.sum(), 1)).tolist(), strict=True)),
        class_images=dict(zip(names, images[: len(names)].tolist(), strict=True)),
        ignored_share=float(pixels[IGNORE] / max(pixels.sum(), 1)),
        problems=tuple(_line(kind, found) for kind, found in problems.items()),
        notes=tuple(notes),
    )


def _problems_of_splits(dataset: Dataset, root: Path, splits: Mapping[Split, SplitCount]) -> dict[str, list[str]]:
    """Return what is wrong before any file is read, and what the plugin found already: kind -> one line each."""
    told = dataset.problems if isinstance(dataset, TellsProblems) else {}
    problems = {kind: list(found) for kind, found in told.items()}
    for split, count in splits.items():
        if not count.images:
            problems.setdefault(f"{split} has no image", []).append(str(root))
    if "train" in splits and splits["train"].images and not splits["train"].with_mask:
        problems.setdefault("no training image has a mask", []).append(str(root))
    return problems


def _examine(record: Record, split: Split, position: int, dataset: Dataset, class_names: Sequence[str]) -> _Finding:
    """Read one record; a mask that is absent matters only for validation."""
    seen = _Finding(record=record, split=split, position=position)
    gone = missing_files(record, label=split == "val")
    if gone:
        return replace(seen, kind=_MISSING, problems=gone)
    kind = "images that cannot be read"
    try:
        size, thumbnail, faint = read_thumbnail(record.image, value_range_of(dataset))
        content = None if callable(record.image) else content_hash(record.image)
        seen = replace(seen, size=size, difference=difference_hash(thumbnail), content=content, faint=faint)
        if record.label is None or not has_mask(record):
            return seen
        kind = "masks that cannot be used"
        raw = read_raw_label(record.label)
        label = label_of(record, raw, dataset, class_names)
        kind = "masks of another size than their image"
        check_size(label_name(record), label.shape, size)
    except InputError as error:
        return replace(seen, kind=kind, problems=(str(error),))
    return replace(seen, pixels=np.bincount(label.ravel(), minlength=256), values=_values(raw))


def _file(source: Source) -> File:
    assert not callable(source), "images that are rendered have no file to compare"
    return source


def _values(raw: NDArray[Any]) -> tuple[int, ...]:
    if raw.dtype == np.uint8:
        return tuple(np.flatnonzero(np.bincount(raw.ravel(), minlength=256)).tolist())
    return tuple(np.unique(raw).tolist())


def _size_notes(sizes: Counter[tuple[int, int]]) -> list[str]:
    if not sizes:
        return []
    (height, width), most = sizes.most_common(1)[0]
    if len(sizes) == 1:
        return [f"every image is {width} x {height} pixels (width x height)"]
    small, large = (choose(sizes, key=lambda size: size[0] * size[1]) for choose in (min, max))
    return [
        f"images have {len(sizes)} sizes, from {small[1]} x {small[0]} to {large[1]} x {large[0]} pixels; "
        f"{most} of {sizes.total()} are {width} x {height}"
    ]


def _value_notes(values: Counter[int]) -> list[str]:
    return [f"values in the masks: {listed([str(value) for value in sorted(values)])}"] if values else []


def _likeness_notes(
    prints: Mapping[Split, Fingerprints], alike: Sequence[tuple[File, File]], plain: Sequence[str]
) -> list[str]:
    notes = []
    if alike:
        first = f"{alike[0][0]} looks like {alike[0][1]}"
        some = "1 validation image looks" if len(alike) == 1 else f"{len(alike)} validation images look"
        notes.append(
            f"{some} like training images, as frames of one film do: validation will flatter; the first: {first}"
        )
    for split, found in prints.items():
        if found.repeated:
            notes.append(f"{found.repeated} images of {split} are copies of others there")
    if plain:
        notes.append(f"{len(plain)} images show a single colour, such as {plain[0]!r}")
    return notes


def _line(kind: str, found: Sequence[str]) -> str:
    return f"{kind}: {found[0]}" if len(found) == 1 else f"{kind}: {len(found)}, the first: {found[0]}"
