import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semivl_plugins import voc
from semivl_plugins.voc import VOC

from semivl_cli.data.contract import Record
from semivl_cli.data.ids import read_ids
from semivl_cli.data.images import read_label
from semivl_cli.data.index import build_index
from semivl_cli.errors import InputError

SPLITS = Path(voc.__file__).parent / "splits"
NAMES = tuple(str(number) for number in range(21))


def tree(home: Path, masks: str = "SegmentationClassAug") -> Path:
    for folder in ("JPEGImages", masks):
        (home / folder).mkdir(parents=True)
    return home


def test_the_protocols_lists_are_complete_and_apart():
    train, val = (set(read_ids(SPLITS / f"{split}.txt")) for split in ("train", "val"))
    assert (len(train), len(val)) == (10_582, 1_449)
    assert not train & val
    lists = sorted(SPLITS.glob("labeled-*.txt"))
    assert [path.name for path in lists] == [f"labeled-{count}.txt" for count in (1464, 183, 366, 732, 92)]
    for path in lists:
        ids = read_ids(path)
        assert len(ids) == int(path.stem.removeprefix("labeled-"))
        assert set(ids) <= train


@pytest.mark.parametrize("layout", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_any_usual_layout_is_found(tmp_path, layout):
    home = tree(tmp_path / layout)
    record = next(iter(VOC().records(tmp_path, "train")))
    assert record == Record(
        id="2007_000032",
        image=home / "JPEGImages" / "2007_000032.jpg",
        label=home / "SegmentationClassAug" / "2007_000032.png",
    )


def test_augmented_masks_go_first_and_the_official_ones_do_without(tmp_path):
    tree(tmp_path, "SegmentationClass")
    assert next(iter(VOC().records(tmp_path, "val"))).label.parent.name == "SegmentationClass"
    (tmp_path / "SegmentationClassAug").mkdir()
    assert next(iter(VOC().records(tmp_path, "val"))).label.parent.name == "SegmentationClassAug"


def test_another_place_is_told_what_was_expected(tmp_path):
    (tmp_path / "JPEGImages").mkdir()
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match=r"expected Pascal VOC 2012 there, that is JPEGImages/.*--root") as caught:
            list(VOC().records(root, "train"))
        assert "\n" not in str(caught.value)


def test_values_are_ids_and_nothing_wraps_round():
    assert VOC().class_ids(np.array([[0, 20, 255]], np.uint8)).tolist() == [[0, 20, 255]]
    assert VOC().class_ids(np.array([[256, 300]], np.int32)).tolist() == [[254, 254]]


def test_only_labelled_and_validation_masks_are_needed(tmp_path):
    labeled, val = read_ids(SPLITS / "labeled-92.txt"), read_ids(SPLITS / "val.txt")
    tree(tmp_path)
    for name in (*read_ids(SPLITS / "train.txt"), *val):
        (tmp_path / "JPEGImages" / f"{name}.jpg").touch()
    for name in (*labeled, *val):
        (tmp_path / "SegmentationClassAug" / f"{name}.png").touch()
    index = build_index(VOC(), tmp_path, labels="1/115", seed=0, class_names=NAMES, missing="refuse")
    assert (len(index.labeled), len(index.unlabeled), len(index.val)) == (92, 10_490, 1_449)
    (tmp_path / "SegmentationClassAug" / f"{labeled[0]}.png").unlink()
    with pytest.raises(InputError, match=rf"1 file is missing, the first is \S+{labeled[0]}\.png"):
        build_index(VOC(), tmp_path, labels="92", seed=0, class_names=NAMES, missing="refuse")


def test_real_masks_are_read_as_ids():
    folder = os.environ.get("SEMIVL_TEST_DATA")
    if not folder:
        pytest.skip("$SEMIVL_TEST_DATA names no folder with real masks")
    paths = sorted(Path(folder, "voc_masks", "SegmentationClassAug").glob("*.png"))
    seen = set()
    for path in paths:
        ids = read_label(Record(id=path.stem, image=path, label=path), VOC(), NAMES)
        with Image.open(path) as picture:
            assert ids.shape == picture.size[::-1]
        seen |= set(np.unique(ids).tolist())
    assert len(paths) == 140
    assert seen == {*range(21), 255}
