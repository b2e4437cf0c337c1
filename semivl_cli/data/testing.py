"""For authors of dataset plugins: one call in a test checks that a plugin keeps the contract.

Only an author's test imports this file, and it looks at a plugin as every room does; so it alone may ask the rooms
beside and above.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import get_args, get_origin

import numpy as np

from semivl_cli.data.choose.splits import choose_labeled, labeled_fractions
from semivl_cli.data.contract import IGNORE, SPLITS, Dataset, Record, Source, Split
from semivl_cli.data.read.images import check_size, label_name, read_image, read_raw_label, value_range_of
from semivl_cli.data.registry import GROUP, own_definition, package_files
from semivl_cli.errors import InputError

_LOOKED_AT = 3
"""Records of each split whose pixels are read."""


def check_dataset(dataset: Dataset, root: Path) -> None:
    """Check that `dataset` keeps the contract for the files below `root`.

    Pixels are read of the first three records of each split alone.

    Raises:
        AssertionError: with what is wrong, one sentence.
    """
    from semivl_cli.concepts.load import load_definition  # noqa: PLC0415 - see above
    from semivl_cli.engine.precedence import configure_dataset  # noqa: PLC0415 - see above

    for attribute in ("name", "definition", "recipe"):
        value = getattr(dataset, attribute, None)
        assert isinstance(value, str), f"{attribute} must be text, not {value!r}"
    assert dataset.name, "name must not be empty"
    assert isinstance(dataset, Dataset), "records(root, split) and class_ids(raw) must be methods"
    _check_entry_point(dataset)
    classes = None  # of a definition of its own; else each user brings one
    if dataset.definition:
        with _as_assertion("definition"):
            classes = len(load_definition(own_definition(dataset)).names)
    with _as_assertion("recipe"):
        configure_dataset(dataset, {})
    assert _pickles(dataset), "the dataset cannot be pickled, so no loader process can read its masks"
    train, val = (_checked_records(dataset, root, split) for split in SPLITS)
    both = {record.id for record in train} & {record.id for record in val}
    assert not both, f"ids in both train and val: {sorted(both)[:3]}"
    bare = [record.id for record in val if record.label is None]
    assert not bare, f"validation images without a label: {bare[:3]}"
    labeled = [record for record in train if record.label is not None]
    assert labeled, "no record of train has a label"
    for record in (*train[:_LOOKED_AT], *labeled[:_LOOKED_AT], *val[:_LOOKED_AT]):
        with _as_assertion(record.id):
            _check_pixels(dataset, record, classes)
    with _as_assertion("splits"):
        _check_lists(dataset, train)


@contextmanager
def _as_assertion(where: str) -> Iterator[None]:
    """Turn what a user would be told into what an author is told."""
    try:
        yield
    except InputError as error:
        raise AssertionError(f"{where}: {error}") from error


def _check_entry_point(dataset: Dataset) -> None:
    """A plugin that is installed must be registered under its own name, by which runs and folders are called."""
    cls = type(dataset)
    value = f"{cls.__module__}:{cls.__qualname__}"
    names = [entry.name for entry in entry_points(group=GROUP) if entry.value == value]
    assert not names or dataset.name in names, (
        f"its entry point is called {names[0]!r}, but its name is {dataset.name!r}"
    )


def _checked_records(dataset: Dataset, root: Path, split: Split) -> list[Record]:
    with _as_assertion(f"records(root, {split!r})"):
        records = list(dataset.records(root, split))
        again = [getattr(record, "id", None) for record in dataset.records(root, split)]
    assert records, f"records(root, {split!r}) is empty"
    ids = []
    sources = tuple(get_origin(kind) or kind for kind in get_args(Source))
    for record in records:
        assert isinstance(record, Record), f"records(root, {split!r}) gave {record!r}, which is no Record"
        assert record.id and isinstance(record.id, str), f"records(root, {split!r}) gave the id {record.id!r}"
        for source in (record.image, record.label):
            fits = source is None or isinstance(source, sources)
            assert fits, f"{record.id}: {source!r} is neither a Path, a TarEntry nor a function"
        ids.append(record.id)
    twice = sorted(name for name in set(ids) if ids.count(name) > 1) if len(set(ids)) < len(ids) else []
    assert not twice, f"ids of {split} that repeat: {twice[:3]}"
    assert again == ids, f"records(root, {split!r}) gave another order the second time"
    assert _pickles(records[0]), f"{ids[0]}: its functions cannot be pickled: name a module's, with functools.partial"
    return records


def _check_pixels(dataset: Dataset, record: Record, classes: int | None) -> None:
    image = read_image(record.image, value_range_of(dataset))
    fits = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert fits, f"{record.id}: the image is {image.dtype} {image.shape}, expected uint8 [H, W, 3]"
    if record.label is None:
        return
    raw = read_raw_label(record.label)
    assert raw.ndim == 2, f"{record.id}: the label is {raw.shape}, expected [H, W]"
    before = raw.copy()
    ids = dataset.class_ids(raw)
    fits = ids.dtype == np.uint8 and ids.shape == raw.shape
    assert fits, f"{record.id}: class_ids gave {ids.dtype} {ids.shape}, expected uint8 {raw.shape}"
    assert np.array_equal(raw, before), f"{record.id}: class_ids changed the raw values that it was given"
    check_size(label_name(record), ids.shape, image.shape)
    if classes is None:
        return
    outside = before[(ids >= classes) & (ids != IGNORE)]
    if len(outside):
        given = dataset.class_ids(np.array([[outside[0]]], before.dtype))[0, 0]
        raise AssertionError(
            f"{record.id}: the raw value {outside[0]} became {given}, but the definition has the classes "
            f"0..{classes - 1} (and {IGNORE} is ignored)"
        )


def _check_lists(dataset: Dataset, train: Sequence[Record]) -> None:
    """The protocol's lists in the package, where there are some, must be what their names promise."""
    counts = []
    for path in package_files(dataset, "splits/labeled-*.txt"):
        count = path.stem.removeprefix("labeled-")
        assert count.isdecimal(), f"splits/{path.name}: expected the number of its ids in its name"
        counts.append(int(count))
        found = len(choose_labeled(dataset, train, int(count), seed=0, class_names=())[0])
        assert found == int(count), f"splits/{path.name} lists {found} ids"
    for fraction, number in labeled_fractions(dataset).items():
        assert number in counts, f"splits/fractions.toml: {fraction} means {number} labels, without a list of so many"


def _pickles(value: object) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # whatever a stranger's object raises, it does not pickle
        return False
    return True
