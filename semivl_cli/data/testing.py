"""For authors of dataset plugins: one call in a test checks that a plugin keeps the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from semivl_cli.data.contract import Dataset, Member, Record, Split
from semivl_cli.data.images import read_image, read_raw_label


def check_dataset(dataset: Dataset, root: Path) -> None:
    """Check that `dataset` keeps the contract for the files below `root`.

    Raises:
        AssertionError: with what is wrong.
    """
    for attribute in ("name", "definition", "recipe"):
        value = getattr(dataset, attribute, None)
        assert isinstance(value, str), f"{attribute} must be text, not {value!r}"
    assert dataset.name, "name must not be empty"
    assert isinstance(dataset, Dataset), "records(root, split) and class_ids(raw) must be methods"
    train, val = (_checked_records(dataset, root, split) for split in ("train", "val"))
    both = {record.id for record in train} & {record.id for record in val}
    assert not both, f"ids in both train and val: {sorted(both)[:3]}"
    _check_image(train[0])
    labeled = next((record for record in (*train, *val) if record.label is not None), None)
    assert labeled is not None, "no record has a label"
    _check_label(dataset, labeled)


def _checked_records(dataset: Dataset, root: Path, split: Split) -> list[Record]:
    records = list(dataset.records(root, split))
    assert records, f"records(root, {split!r}) is empty"
    ids = []
    for record in records:
        assert isinstance(record, Record), f"records(root, {split!r}) gave {record!r}, which is no Record"
        for source in (record.image, record.label):
            fits = source is None or isinstance(source, Path | Member) or callable(source)
            assert fits, f"{record.id}: {source!r} is neither a Path, a Member nor a function"
        ids.append(record.id)
    twice = {name for name in ids if ids.count(name) > 1} if len(set(ids)) < len(ids) else set()
    assert not twice, f"ids of {split} that repeat: {sorted(twice)[:3]}"
    again = [record.id for record in dataset.records(root, split)]
    assert again == ids, f"records(root, {split!r}) gave another order the second time"
    return records


def _check_image(record: Record) -> None:
    image = read_image(record.image)
    fits = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert fits, f"{record.id}: the image is {image.dtype} {image.shape}, expected uint8 [H, W, 3]"


def _check_label(dataset: Dataset, record: Record) -> None:
    assert record.label is not None
    raw = read_raw_label(record.label)
    assert raw.ndim == 2, f"{record.id}: the label is {raw.shape}, expected [H, W]"
    ids = dataset.class_ids(raw)
    fits = ids.dtype == np.uint8 and ids.shape == raw.shape
    assert fits, f"{record.id}: class_ids gave {ids.dtype} {ids.shape}, expected uint8 {raw.shape}"
