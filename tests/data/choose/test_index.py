from pathlib import Path

import pytest
from semivl_plugins.folder import Folder

from semivl_cli.config import DataSettings
from semivl_cli.data.choose.index import build_index, find_root
from semivl_cli.data.contract import Record
from semivl_cli.errors import InputError


def build(world, labels=4, missing="refuse", seed=0, names=None, dataset=None):
    dataset = dataset or Folder()
    data = DataSettings(labels=labels, missing=missing)
    return build_index(dataset, world.root, data, seed=seed, class_names=names or world.names)


def ids(records):
    return {record.id for record in records}


class Fixed:
    """A plugin that lists the records it is given."""

    name, definition, recipe = "fixed", "", ""

    def __init__(self, train, val):
        self.by_split = {"train": train, "val": val}

    def records(self, root, split):
        return self.by_split[split]

    def class_ids(self, raw):
        return raw


def test_labelled_unlabelled_and_val_share_nothing_and_hide_masks(world):
    index = build(world)
    assert len(index.labeled) == 4
    assert len(index.unlabeled) == 13
    assert ids(index.val) == {"v0", "v1", "v2"}
    assert not ids(index.labeled) & ids(index.unlabeled)
    assert not ids(index.val) & (ids(index.labeled) | ids(index.unlabeled))
    assert all(record.label is None for record in index.unlabeled)
    assert not any("left out" in note for note in index.notes)


def test_a_mask_that_is_hidden_need_not_exist(world):
    masks = {path.stem for path in (world.root / "masks").iterdir()}
    hidden = masks & ids(build(world).unlabeled)
    assert hidden
    records = {split: tuple(Folder().records(world.root, split)) for split in ("train", "val")}
    (world.root / "mine.txt").write_text("\n".join(sorted(ids(build(world).labeled))))
    for name in hidden:
        (world.root / "masks" / f"{name}.png").unlink()
    index = build(world, str(world.root / "mine.txt"), dataset=Fixed(**records))
    assert len(index.unlabeled) == 13


def test_missing_files_are_refused_with_their_number_or_left_out(world):
    listed = "\n".join([*(f"m{number:02d}" for number in range(12)), "gone"])
    (world.root / "train.txt").write_text(listed)
    (world.root / "masks" / "v1.png").unlink()
    with pytest.raises(
        InputError, match=r"2 files are missing, the first is \S+gone: .*prepare data folder.*--set data.missing=skip"
    ):
        build(world)
    index = build(world, missing="skip")
    assert ids(index.val) == {"v0", "v2"}
    assert "gone" not in ids(index.unlabeled)
    assert "2 images are left out, because files are missing" in index.notes


def test_of_very_many_files_some_are_looked_for_and_that_is_said(world, monkeypatch):
    monkeypatch.setattr("semivl_cli.data.choose.index.MOST_LOOKED_FOR", 4)
    monkeypatch.setattr("semivl_cli.data.choose.index._SAMPLE", 5)
    exact = build(world)
    assert "7 of the 13 unlabelled files were looked for, evenly spread" in exact.notes
    records = {split: tuple(Folder().records(world.root, split)) for split in ("train", "val")}
    for record in exact.unlabeled[::2]:
        record.image.unlink()
    with pytest.raises(InputError, match="7 files are missing"):
        build(world, dataset=Fixed(**records), labels=listed(world, exact))
    left = build(world, dataset=Fixed(**records), labels=listed(world, exact), missing="skip")
    assert ids(left.unlabeled) == ids(exact.unlabeled[1::2])


def listed(world, index):
    path = world.root / "labeled.txt"
    path.write_text("\n".join(record.id for record in index.labeled))
    return str(path)


def test_nothing_to_validate_on_is_refused(world):
    for name in ("v0", "v1", "v2"):
        (world.root / "masks" / f"{name}.png").unlink()
    with pytest.raises(InputError, match="no validation image"):
        build(world, missing="skip")


def test_ids_that_repeat_or_overlap_are_refused(world):
    one, two = (Record(id=name, image=lambda: None, label=lambda: None) for name in "ab")
    with pytest.raises(InputError, match="two train images have the id 'a'"):
        build(world, dataset=Fixed((one, one), (two,)))
    with pytest.raises(InputError, match="1 ids are in both train and val, for example 'a'"):
        build(world, dataset=Fixed((one, two), (one,)))


def test_the_split_of_a_run_tells_the_ids_and_its_hash_follows_them_alone(world):
    index = build(world)
    split = index.split()
    assert split["labeled"] == [record.id for record in index.labeled]
    assert split["unlabeled"]["count"] == 13
    assert split["val"] == ["v0", "v1", "v2"]
    assert split == build(world).split()
    assert build(world, seed=1).split()["sha256"] != split["sha256"]
    world.add("u9", mask=False)
    changed = build(world).split()
    assert changed["unlabeled"]["sha256"] != split["unlabeled"]["sha256"]
    assert changed["sha256"] != split["sha256"]


def test_the_plugins_notes_are_passed_on(world):
    (world.root / "val.txt").unlink()
    assert "2 of the 15 masks are validation: no val.txt" in build(world).notes


def test_too_many_classes_are_refused(world):
    with pytest.raises(InputError, match="255 classes, at most 254"):
        build(world, names=[str(number) for number in range(255)])


def test_the_root_is_the_users_else_the_environments_else_data(monkeypatch):
    monkeypatch.setenv("SEMIVL_DATA", "/somewhere")
    assert find_root("voc", Path("mine")) == Path("mine")
    assert find_root("voc", None) == Path("/somewhere/voc")
    monkeypatch.setenv("SEMIVL_DATA", "")
    assert find_root("voc", None) == Path("data/voc")
