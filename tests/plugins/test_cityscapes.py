import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semivl_plugins.cityscapes import Cityscapes

from semivl_cli.data.choose.index import list_records
from semivl_cli.data.contract import Record
from semivl_cli.data.read.images import read_label
from semivl_cli.errors import InputError

NAMES = tuple(str(number) for number in range(19))
CLASSES = [(name, (0, 0, 0)) for name in NAMES]
SOME = {
    "train": ("aachen/aachen_000000_000019", "aachen/aachen_000001_000019"),
    "val": ("frankfurt/frankfurt_000000_000294",),
}
LABEL_IDS = np.array([[0, 7, 8, 11], [13, 26, 33, 29]], np.uint8)
CLASS_IDS = [[255, 0, 1, 2], [4, 13, 18, 255]]
TRAIN_IDS = np.array(CLASS_IDS, np.uint8)


def tree(home: Path, kinds=("labelIds",), images="leftImg8bit", masks="gtFine") -> Path:
    """A tree with a few of the real ids; `kinds` of the masks, in turn."""
    place = 0
    for split, names in SOME.items():
        for name in names:
            image = home / images / split / f"{name}_leftImg8bit.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 2)).save(image)
            (home / masks / split / name).parent.mkdir(parents=True, exist_ok=True)
            for kind in kinds[place % len(kinds)].split("+"):
                values = LABEL_IDS if kind == "labelIds" else TRAIN_IDS
                Image.fromarray(values).save(home / masks / split / f"{name}_gtFine_{kind}.png")
            for other in ("color", "instanceIds"):
                Image.new("RGB", (4, 2)).save(home / masks / split / f"{name}_gtFine_{other}.png")
            place += 1
    return home


def present(root):
    dataset = Cityscapes()
    splits = dict(zip(("train", "val"), list_records(dataset, root), strict=True))
    return dataset, [record for split, records in splits.items() for record in records if record.id in SOME[split]]


@pytest.mark.parametrize(
    "kinds",
    [
        ("labelIds",),
        ("labelTrainIds",),
        ("labelIds+labelTrainIds",),
        ("labelIds", "labelTrainIds", "labelIds"),
        ("labelTrainIds", "labelIds", "labelIds+labelTrainIds"),
        ("labelIds", "labelIds", "labelTrainIds"),
        ("labelTrainIds", "labelTrainIds", "labelIds"),
    ],
)
def test_masks_of_either_kind_give_the_same_classes_also_side_by_side(tmp_path, kinds):
    dataset, records = present(tree(tmp_path, kinds))
    assert len(records) == 3
    for record in records:
        for reader in (dataset, pickle.loads(pickle.dumps(dataset))):  # as workers get it
            assert read_label(pickle.loads(pickle.dumps(record)), reader, NAMES).tolist() == CLASS_IDS


@pytest.mark.parametrize("split", ["train", "val"])
def test_listing_one_split_does_not_change_how_the_other_is_read(tmp_path, split):
    tree(tmp_path, ("labelIds", "labelIds", "labelTrainIds"))  # training and validation masks of different kinds
    dataset, records = present(tmp_path)
    list(dataset.records(tmp_path, split))
    assert all(read_label(record, dataset, NAMES).tolist() == CLASS_IDS for record in records)


def test_the_protocols_records_are_named_as_published(tmp_path):
    tree(tmp_path)
    train, val = (list(Cityscapes().records(tmp_path, split)) for split in ("train", "val"))
    assert (len(train), len(val)) == (2_975, 500)
    first = next(record for record in train if record.id == SOME["train"][0])
    assert first == Record(
        id=SOME["train"][0],
        image=tmp_path / "leftImg8bit" / "train" / "aachen" / "aachen_000000_000019_leftImg8bit.png",
        label=tmp_path / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_labelIds.png",
    )


def test_folders_named_after_the_archives_are_found(tmp_path):
    tree(tmp_path, images="leftImg8bit_trainvaltest/leftImg8bit", masks="gtFine_trainvaltest/gtFine")
    dataset, records = present(tmp_path)
    assert all(read_label(record, dataset, NAMES).tolist() == CLASS_IDS for record in records)
    assert all(record.image.is_file() for record in records)


def test_without_masks_they_count_as_missing(tmp_path):
    tree(tmp_path)
    for path in tmp_path.rglob("*_labelIds.png"):
        path.unlink()
    assert not next(iter(Cityscapes().records(tmp_path, "val"))).label.exists()


def test_another_place_is_told_with_the_steps_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"expected Cityscapes there.*--root.*register at https://www\.cityscapes"):
        list(Cityscapes().records(tmp_path, "train"))


def test_downloading_is_answered_with_the_steps_and_archives_are_taken(tmp_path):
    with pytest.raises(InputError, match=r"leftImg8bit_trainvaltest\.zip, gtFine_trainvaltest\.zip cannot be fetched"):
        Cityscapes().prepare(tmp_path / "root", (), CLASSES, True, print)
    tree(tmp_path / "made")
    archives = []
    for folder in ("leftImg8bit", "gtFine"):
        archives.append(tmp_path / f"{folder}_trainvaltest.zip")
        with zipfile.ZipFile(archives[-1], "w") as file:
            file.writestr("license.txt", "")
            for path in sorted((tmp_path / "made" / folder).rglob("*.png")):
                file.write(path, path.relative_to(tmp_path / "made"))
    Cityscapes().prepare(tmp_path / "root", [tmp_path], CLASSES, False, print)
    dataset, records = present(tmp_path / "root")
    assert all(read_label(record, dataset, NAMES).tolist() == CLASS_IDS for record in records)
