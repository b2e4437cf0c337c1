import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semivl_plugins import ade20k
from semivl_plugins.ade20k import ADE20K

from semivl_cli.config import DataSettings
from semivl_cli.data.choose.index import build_index
from semivl_cli.errors import InputError

NAMES = tuple(str(number) for number in range(150))
CLASSES = [(name, (0, 0, 0)) for name in NAMES]


def tree(home: Path, count: int = 3) -> Path:
    for folder, prefix in (("training", "ADE_train"), ("validation", "ADE_val")):
        for kind, suffix, image in (("images", "jpg", Image.new("RGB", (4, 4))), ("annotations", "png", None)):
            (home / kind / folder).mkdir(parents=True)
            for number in range(1, count + 1):
                values = np.full((4, 4), number, np.uint8)
                values[0, 0] = 0
                path = home / kind / folder / f"{prefix}_{number:08d}.{suffix}"
                (image or Image.fromarray(values)).save(path)
    return home


@pytest.mark.parametrize("layout", ["", "ADEChallengeData2016"])
def test_both_layouts_are_found(tmp_path, layout):
    home = tree(tmp_path / layout)
    train, val = (list(ADE20K().records(tmp_path, split)) for split in ("train", "val"))
    assert (len(train), len(val)) == (20_210, 2_000)
    assert train[0].id == "ADE_train_00000001"
    assert train[0].image == home / "images" / "training" / "ADE_train_00000001.jpg"
    assert val[0].label == home / "annotations" / "validation" / "ADE_val_00000001.png"
    assert val[0].image.is_file()


def test_zero_is_other_and_ignored_and_the_rest_is_shifted():
    raw = np.array([[0, 1, 150, 255, 151, 254, 300, 65535]], np.int32)
    assert ADE20K().class_ids(raw).tolist() == [[255, 0, 149, 255, 254, 254, 254, 254]]
    assert ADE20K().class_ids(np.array([[0, 1, 150]], np.uint8)).tolist() == [[255, 0, 149]]


def test_a_training_takes_the_protocols_list(tmp_path):
    tree(tmp_path)
    with pytest.raises(InputError, match="files are missing"):
        build_index(ADE20K(), tmp_path, DataSettings(labels="1/128"), seed=0, class_names=NAMES)


def test_another_place_is_told_what_was_expected(tmp_path):
    with pytest.raises(InputError, match=r"expected ADE20K .*images/training/ and annotations/training/; --root"):
        list(ADE20K().records(tmp_path, "train"))


def test_the_users_archive_is_unpacked_with_its_wrapper(tmp_path):
    tree(tmp_path / "made" / "ADEChallengeData2016")
    archive = tmp_path / "ADEChallengeData2016.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((tmp_path / "made").rglob("*")):
            file.write(path, path.relative_to(tmp_path / "made"))
    ADE20K().prepare(tmp_path / "root", [archive], CLASSES, False, print)
    first = next(iter(ADE20K().records(tmp_path / "root", "train")))
    assert first.image.is_file()
    assert first.label.is_file()


def test_what_is_fetched_is_what_the_publisher_names():
    (archive,) = ade20k.ARCHIVES
    assert archive.url.endswith(archive.name)
    assert sum(archive.holds.values()) == 2 * (20_210 + 2_000)
