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
