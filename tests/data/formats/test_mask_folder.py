import numpy as np
import pytest
from PIL import Image


@pytest.mark.parametrize(
    "names", [("a_{}.png", "c_{}.png"), ("{}_a.png", "{}-c.png"), ("{}/a.png", "{}/c.png"), ("a/{}.png", "c/{}.png")]
)
@pytest.mark.parametrize("there", [1, 255])
def test_one_picture_a_class_becomes_one_mask(shop, boxes, names, there):
    for name in names:
        for number, label in ((1, "road"), (2, "traffic_light")):
            shop.mask(name.format(label), (boxes == number).astype(np.uint8) * there)
    shop.prepare()
    found = shop.ids()
    assert set(found) == {"a", "c"}
    assert all((ids == boxes).all() for ids in found.values())


def test_a_picture_of_no_class_beside_those_of_classes_is_not_the_mask_of_the_whole(shop, boxes):
    for name in ("a", "c"):
        shop.mask(f"road/{name}.png", (boxes == 1).astype(np.uint8) * 255)
    stranger = shop.mask("raod/a.png", (boxes == 2).astype(np.uint8) * 255)
    (problem,) = shop.prepare().problems["masks that cannot be converted"]
    assert problem.startswith(f"{stranger}: other masks of 'a' are of one class each")
    assert "0 background, 1 road, 2 traffic light" in problem
    assert not (shop.root / "prepared/masks/a.png").exists()
    stranger.unlink()
    assert not shop.prepare().problems
    assert (shop.ids()["a"] == (boxes == 1)).all()


def test_a_class_alone_has_one_value_and_overlaps_are_told(shop, boxes):
    shop.mask("a_road.png", np.arange(600, dtype=np.uint16).reshape(20, 30))
    for name in ("c_road.png", "c_traffic light.png", "b_road.png"):
        shop.mask(name, np.ones((20, 30), np.uint8))
    shop.prepare()
    assert (
        "holds 0 and one other value, this one holds 600 values" in shop.problems["masks that cannot be converted"][0]
    )
    assert (np.array(Image.open(shop.root / "prepared/masks/c.png")) == 2).all()
    assert shop.told("shapes of two classes overlap", "the class with the higher id lies on top")


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(
    "names", [("a_mask.gif", "c_mask.gif"), ("a.jpg.png", "c.jpg.png"), ("a-labels.tif", "c-labels.tif")]
)
def test_masks_whose_names_all_end_alike_belong_to_their_images(shop, boxes, names, given):
    for name in names:
        shop.mask(name, boxes, folder="../masks" if given else "masks")
    shop.prepare(*([shop.root.parent / "masks"] if given else []))
    shop.same(boxes, "a", "c")


def test_what_names_end_in_can_be_said_and_other_pictures_are_counted(shop, boxes):
    for name in ("a", "c"):
        shop.mask(f"{name}_ids.png", boxes)
        shop.mask(f"{name}_color.png", shop.colored(boxes))
    shop.mask("x_ids.png", boxes)
    shop.prepare()
    assert shop.problems
    assert shop.told("names of masks without image end in '_color', '_ids'", 'mask_suffix = "_color"')
    (shop.root / "dataset.toml").write_text('mask_suffix = "_ids"')
    shop.prepare()
    assert shop.told("2 pictures are no masks: their names do not end in '_ids'")
    (unmatched,) = shop.problems["masks that cannot be matched with an image"]
    assert "x_ids.png: x.png: no such image" in unmatched
    (shop.root / "masks/x_ids.png").unlink()
    shop.prepare()
    shop.same(boxes, "a", "c")


def test_names_that_end_alike_beside_exact_ones_are_no_masks(shop, boxes):
    for name in ("a", "c"):
        shop.mask(f"{name}.png", shop.colored(boxes))
        shop.mask(f"{name}_overlay.png", shop.colored(boxes))
    shop.prepare()
    assert len(shop.problems["masks that cannot be matched with an image"]) == 2


def test_folders_of_images_and_masks_at_any_depth_are_taken_in(shop, boxes, tmp_path):
    for split in ("train", "valid"):
        for name in ("x", "y"):
            shop.image(f"{split}{name}", folder=f"../export/{split}/images")
            shop.mask(f"{split}{name}.png", boxes, folder=f"../export/{split}/masks")
    (shop.root / "images").rename(tmp_path / "old")
    shop.prepare(tmp_path / "export")
    found = shop.ids()
    assert {name: (ids == boxes).all() for name, ids in found.items()} == {
        f"export/{split}/images/{split}{name}": True for split in ("train", "valid") for name in ("x", "y")
    }
    assert shop.told("wrote", "2 training and 2 validation images")
