"""Looks at every file of a dataset and tells what is there, and what training would refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import IGNORE, Dataset, Record, Split
from semivl_cli.data.images import check_image, check_sizes, read_label
from semivl_cli.data.index import list_records, missing_files, plugin_notes
from semivl_cli.data.records import Records
from semivl_cli.errors import InputError

_AT_ONCE = 1024
"""Files whose findings are held in memory together."""


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

    pixels: NDArray[np.int64] | None = None  # [256]
    kind: str = ""
    problems: tuple[str, ...] = ()


def survey(dataset: Dataset, root: Path, class_names: Sequence[str]) -> Survey:
    """Read all images and masks below `root` once.

    Raises:
        InputError: if `root` does not hold the dataset at all, or its ids repeat or overlap.
    """
    by_split: dict[Split, Records] = dict(zip(("train", "val"), list_records(dataset, root), strict=True))
    problems: dict[str, list[str]] = {}
    for split, records in by_split.items():
        if not records:
            problems.setdefault(f"{split} has no image", []).append(str(root))
    if by_split["train"] and not any(_has_mask(record) for record in by_split["train"]):
        problems.setdefault("no training image has a mask", []).append(str(root))

    jobs = [(record, split) for split, records in by_split.items() for record in records]
    pixels, images = np.zeros(256, np.int64), np.zeros(256, np.int64)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(jobs), _AT_ONCE):
            some = jobs[start : start + _AT_ONCE]
            for finding in pool.map(lambda job: _look(job[0], job[1], dataset, class_names), some):
                if finding.problems:
                    problems.setdefault(finding.kind, []).extend(finding.problems)
                if finding.pixels is not None:
                    pixels += finding.pixels
                    images += finding.pixels > 0

    names = list(class_names)
    shown = pixels[: len(names)]
    absent = [name for name, count in zip(names, shown, strict=True) if count == 0]
    if shown.any() and shown[1:].sum() == 0 and pixels[IGNORE] > 0:
        problems["masks hold nothing but class 0 and ignored pixels"] = [
            f"if {IGNORE} means {names[-1]!r}, dataset.toml must say values = {{ 0 = 0, {IGNORE} = {len(names) - 1} }}"
        ]
    notes = [*plugin_notes(dataset)]
    bare = len(by_split["train"]) - sum(_has_mask(record) for record in by_split["train"])
    if bare:
        notes.append(f"{bare} of {len(by_split['train'])} training images have no mask: they can only be unlabelled")
    if shown.any() and absent:
        notes.append(f"classes in no mask: {', '.join(absent)}")
    return Survey(
        splits={
            split: SplitCount(images=len(records), with_mask=sum(_has_mask(record) for record in records))
            for split, records in by_split.items()
        },
        class_shares=dict(zip(names, (shown / max(shown.sum(), 1)).tolist(), strict=True)),
        class_images=dict(zip(names, images[: len(names)].tolist(), strict=True)),
        ignored_share=float(pixels[IGNORE] / max(pixels.sum(), 1)),
        problems=tuple(_line(kind, found) for kind, found in problems.items()),
        notes=tuple(notes),
    )


def _look(record: Record, split: Split, dataset: Dataset, class_names: Sequence[str]) -> _Finding:
    """Read one record; a mask that is absent matters only for validation."""
    gone = missing_files(record, label=split == "val")
    if gone:
        return _Finding(kind="files missing", problems=gone)
    try:
        size = check_image(record.image)
    except InputError as error:
        return _Finding(kind="images that cannot be read", problems=(str(error),))
    if not _has_mask(record):
        return _Finding()
    try:
        label = read_label(record, dataset, class_names)
    except InputError as error:
        return _Finding(kind="masks that cannot be used", problems=(str(error),))
    try:
        check_sizes(record, size, label.shape)
    except InputError as error:
        return _Finding(kind="masks of another size than their image", problems=(str(error),))
    return _Finding(pixels=np.bincount(label.ravel(), minlength=256))


def _has_mask(record: Record) -> bool:
    return record.label is not None and (not isinstance(record.label, Path) or record.label.is_file())


def _line(kind: str, found: Sequence[str]) -> str:
    return f"{kind}: {found[0]}" if len(found) == 1 else f"{kind}: {len(found)}, the first: {found[0]}"
