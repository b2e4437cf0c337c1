import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semivl_plugins.folder import Folder
from semivl_plugins.voc import VOC

from semivl_cli.data.choose.survey import survey


def look(world, names=None):
    return survey(Folder(), world.root, names or world.names)


def test_a_sound_dataset_is_counted_and_has_no_problem(world):
    found = look(world)
    assert (found.splits["train"].images, found.splits["train"].with_mask) == (17, 12)
    assert (found.splits["val"].images, found.splits["val"].with_mask) == (3, 3)
    assert found.problems == ()
    assert found.class_images == {"ground": 15, "tree": 14, "car": 4}
    assert found.class_shares["ground"] == pytest.approx((12 * 300 + 3 * 200) / 9000)
    assert sum(found.class_shares.values()) == pytest.approx(1)
    assert found.ignored_share == 0
    assert "5 of 17 training images have no mask: they can only be unlabelled" in found.notes
    assert "every image is 30 x 20 pixels (width x height)" in found.notes
    assert "values in the masks: 0, 1, 2" in found.notes


def test_every_kind_of_problem_is_told_with_count_and_example(world):
    images, masks = world.root / "images", world.root / "masks"
    (masks / "v2.png").unlink()
    for name in ("m00", "m01"):
        Image.fromarray(np.full((20, 30), 9, np.uint8)).save(masks / f"{name}.png")
    Image.fromarray(np.zeros((30, 20), np.uint8)).save(masks / "m02.png")
    (images / "u0.png").write_bytes((images / "u0.png").read_bytes()[:60])
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(masks / "m03.png")
    problems = {line.split(":")[0]: line for line in look(world).problems}
    assert set(problems) == {
        "files missing",
        "images that cannot be read",
        "masks that cannot be used",
        "masks of another size than their image",
    }
    assert "v2.png" in problems["files missing"]
    assert "u0.png" in problems["images that cannot be read"]
    assert "3, the first: " in problems["masks that cannot be used"]
    assert "m00.png: value 9 (600 pixels)" in problems["masks that cannot be used"]
    assert "m02.png" in problems["masks of another size than their image"]


def test_a_binary_mask_of_0_and_255_is_a_problem_with_its_remedy(world):
    for path in (world.root / "masks").iterdir():
        Image.fromarray(np.resize(np.array([0, 255], np.uint8), (20, 30))).save(path)
    (problem,) = look(world, ("background", "defect")).problems
    assert "values = { 0 = 0, 255 = 1 }" in problem
    assert "'defect'" in problem
    (world.root / "dataset.toml").write_text("values = { 0 = 0, 255 = 1 }")
    assert look(world, ("background", "defect")).problems == ()


def test_absent_classes_and_ignored_pixels_are_told(world):
    for path in (world.root / "masks").iterdir():
        Image.fromarray(np.resize(np.array([0, 1, 1, 255], np.uint8), (20, 30))).save(path)
    found = look(world)
    assert "classes in no mask: car" in found.notes
    assert found.ignored_share == pytest.approx(0.25)


def test_without_masks_there_is_nothing_to_learn(world):
    for path in (world.root / "masks").iterdir():
        path.unlink()
    assert any(line.startswith("no training image has a mask") for line in look(world).problems)


def test_real_street_scenes_are_sound():
    folder = os.environ.get("SEMIVL_TEST_DATA")
    if not folder:
        pytest.skip("$SEMIVL_TEST_DATA names no folder with real images")
    names = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
    found = survey(Folder(), Path(folder, "camvid"), names)
    assert (found.splits["train"].with_mask, found.splits["val"].with_mask) == (367, 101)
    assert found.problems == ()
    assert min(found.class_images.values()) > 0


def test_real_voc_masks_are_sound(tmp_path):
    folder = os.environ.get("SEMIVL_TEST_DATA")
    if not folder:
        pytest.skip("$SEMIVL_TEST_DATA names no folder with real masks")
    masks = tmp_path / "SegmentationClassAug"
    masks.symlink_to(Path(folder, "voc_masks", "SegmentationClassAug"))
    (tmp_path / "JPEGImages").mkdir()
    for path in masks.iterdir():
        with Image.open(path) as mask:
            Image.new("RGB", mask.size).save(tmp_path / "JPEGImages" / f"{path.stem}.jpg")
    found = survey(VOC(), tmp_path, [str(number) for number in range(21)])
    assert found.splits["train"].with_mask == 92
    assert min(found.class_images.values()) > 0
    assert [line.split(":")[0] for line in found.problems] == ["files missing"]
