import hashlib
import json
import shutil
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semivl_plugins import voc
from semivl_plugins.voc import VOC
from typer.testing import CliRunner

from semivl_cli.cli import app
from semivl_cli.config import DataSettings
from semivl_cli.data.choose.index import build_index
from semivl_cli.data.choose.survey import survey
from semivl_cli.data.contract import Record
from semivl_cli.data.ids import read_ids
from semivl_cli.errors import InputError

SPLITS = Path(voc.__file__).parent / "splits"
NAMES = tuple(str(number) for number in range(21))


def tree(home: Path, masks: str = "SegmentationClassAug") -> Path:
    for folder in ("JPEGImages", masks):
        (home / folder).mkdir(parents=True)
    return home


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


@pytest.mark.parametrize(
    ("layout", "aug"),
    [
        ("VOCdevkit/VOC2012", "VOCdevkit/VOC2012/SegmentationClassAug"),
        ("VOCdevkit/VOC2012", "VOCdevkit/VOC2012/SegmentationClassAug/SegmentationClassAug"),
        ("VOCdevkit/VOC2012", "VOCdevkit/SegmentationClassAug"),
        ("VOCdevkit/VOC2012", "SegmentationClassAug"),
        ("VOC2012", "SegmentationClassAug"),
        ("", "SegmentationClassAug"),
        ("", "SegmentationClassAug/SegmentationClassAug"),
    ],
)
def test_augmented_masks_are_found_in_their_usual_places_and_the_official_ones_fill_up(tmp_path, layout, aug):
    home = tree(tmp_path / layout, "SegmentationClass")
    (tmp_path / aug).mkdir(parents=True)
    ids = read_ids(SPLITS / "train.txt")[:3]
    (tmp_path / aug / f"{ids[0]}.png").touch()
    for name in ids[:2]:
        (home / "SegmentationClass" / f"{name}.png").touch()
    labels = [record.label for record in VOC().records(tmp_path, "train")][:3]
    assert labels[0] == tmp_path / aug / f"{ids[0]}.png"
    assert labels[1] == home / "SegmentationClass" / f"{ids[1]}.png"
    assert not labels[2].exists()


@pytest.fixture
def devkit(tmp_path, served, monkeypatch):
    """A small VOCtrainval tar on a server that the plugin takes for its publisher's."""
    made = tree(tmp_path / "made" / "VOCdevkit" / "VOC2012", "SegmentationClass")
    name = read_ids(SPLITS / "val.txt")[0]
    Image.new("RGB", (4, 4)).save(made / "JPEGImages" / f"{name}.jpg")
    Image.new("P", (4, 4)).save(made / "SegmentationClass" / f"{name}.png")
    (archive,) = voc.ARCHIVES
    folder, address = served
    with tarfile.open(folder / archive.name, "w") as tar:
        tar.add(tmp_path / "made" / "VOCdevkit", "VOCdevkit")
    md5 = hashlib.md5((folder / archive.name).read_bytes()).hexdigest()
    holds = {"JPEGImages/*.jpg": 1, "SegmentationClass/*.png": 1}
    there = replace(archive, url=f"{address}/{archive.name}", size=None, md5=md5, holds=holds)
    monkeypatch.setattr(voc, "ARCHIVES", (there,))
    return folder / archive.name


def test_the_command_fetches_unpacks_and_looks(tmp_path, devkit):
    root = tmp_path / "root"
    command = ["prepare", "data", "voc", "--root", str(root), "--download"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1  # of all the protocol's images one is there
    assert f"{devkit.name}: 2 new files in {root}" in done.stderr
    assert voc.AUGMENTED in done.stderr
    assert "val: 1449 images, 1 with a mask" in done.stdout
    assert (root / "VOCdevkit" / "VOC2012" / "JPEGImages").is_dir()
    assert json.loads((root / "downloads.json").read_text())[devkit.name]["checked"] == ["md5"]
    devkit.unlink()
    assert "all that can be fetched is there" in CliRunner().invoke(app, command).stderr


def test_the_command_tells_a_wrong_checksum_in_one_line(tmp_path, devkit):
    devkit.write_bytes(devkit.read_bytes()[:-512] + bytes([1] * 512))
    done = CliRunner().invoke(app, ["prepare", "data", "voc", "--root", str(tmp_path / "root"), "--download"])
    assert done.exit_code == 2
    assert "what came is not what was published (its MD5 is" in done.stderr.splitlines()[-1]
    assert not [path for path in (tmp_path / "root").rglob("*") if path.is_file() and path.name != ".prepare.lock"]


def test_the_users_own_archives_are_unpacked_and_read(tmp_path, devkit):
    root, lines = tmp_path / "root", []
    VOC().prepare(root, [devkit], [], False, lines.append)
    name = read_ids(SPLITS / "val.txt")[0]
    first = next(iter(VOC().records(root, "val")))
    assert first.image.is_file()
    assert first.label.is_file()
    with zipfile.ZipFile(tmp_path / "SegmentationClassAug.zip", "w") as packed:
        packed.writestr(f"SegmentationClassAug/{name}.png", b"")
    VOC().prepare(root, [tmp_path / "SegmentationClassAug.zip"], [], True, lines.append)
    assert lines[-1] == f"{root}: all that can be fetched is there"  # and no word about augmented masks
    assert next(iter(VOC().records(root, "val"))).label == root / "SegmentationClassAug" / f"{name}.png"


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
    index = build_index(VOC(), tmp_path, DataSettings(labels="1/115"), seed=0, class_names=NAMES)
    assert (len(index.labeled), len(index.unlabeled), len(index.val)) == (92, 10_490, 1_449)
    (tmp_path / "SegmentationClassAug" / f"{labeled[0]}.png").unlink()
    with pytest.raises(InputError, match=rf"1 file is missing, the first is \S+{labeled[0]}\.png"):
        build_index(VOC(), tmp_path, DataSettings(labels="92"), seed=0, class_names=NAMES)


@pytest.mark.parametrize(
    ("layout", "masks"), [("VOCdevkit/VOC2012", "SegmentationClassAug"), ("", "SegmentationClass")]
)
def test_real_masks_have_the_class_shares_of_their_palette_indices(tmp_path, test_data, layout, masks):
    home = tree(tmp_path / layout, masks)
    counts = np.zeros(256, np.int64)
    for path in sorted((test_data / "voc_masks" / "SegmentationClassAug").glob("*.png")):
        with Image.open(path) as picture:
            counts += np.bincount(np.frombuffer(picture.tobytes(), np.uint8), minlength=256)
            Image.new("RGB", picture.size).save(home / "JPEGImages" / f"{path.stem}.jpg")
        shutil.copyfile(path, home / masks / path.name)
    found = survey(VOC(), tmp_path, NAMES)
    assert counts[:21].all()
    assert counts[21:255].sum() == 0
    assert list(found.class_shares.values()) == (counts[:21] / counts[:21].sum()).tolist()
    assert found.ignored_share == counts[255] / counts.sum()
    index = build_index(VOC(), tmp_path, DataSettings(labels="92", missing="skip"), seed=0, class_names=NAMES)
    assert len(index.labeled) == 92
