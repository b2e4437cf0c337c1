import unicodedata

import pytest
from PIL import Image


def test_masks_that_can_be_read_as_they_are_stay_where_they_are(shop, boxes):
    for name in ("a", "day1/b"):
        shop.mask(f"{name}.png", boxes)
    shop.prepare()
    shop.same(boxes, "a", "day1/b")
    assert not (shop.root / "prepared/masks").exists()
    assert not shop.told("the masks are converted")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda shop, boxes: shop.mask("c.png", shop.colored(boxes)), "they hold colours"),
        (lambda shop, boxes: shop.mask("c_road.png", boxes & 1), "there is one picture a class"),
    ],
)
def test_it_is_said_why_masks_are_converted(shop, boxes, change, why):
    shop.mask("a.png", boxes)
    change(shop, boxes)
    shop.prepare()
    assert shop.told(f"{shop.root}/masks: the masks are converted: {why}")


def test_a_name_that_is_spelled_otherwise_than_its_image_is_still_that_of_a_mask(shop, boxes):
    shop.image("café")
    for name in ("a", unicodedata.normalize("NFD", "café")):
        shop.mask(f"{name}.png", boxes)
    shop.prepare()
    shop.same(boxes, "a", "café")
    assert shop.told("some names are spelled otherwise than their images")


def test_a_mask_too_many_makes_no_conversion(shop, boxes):
    for name in ("a", "c", "z"):
        shop.mask(f"{name}.png", boxes)
    shop.prepare()
    assert not (shop.root / "prepared/masks").exists()


def test_a_file_that_cannot_be_read_is_told_by_who_reads_it(shop, boxes):
    shop.mask("a.png", boxes)
    (shop.root / "masks/c.png").write_bytes(b"404")
    (shop.root / "images/day1/b.jpg").write_bytes(b"")
    Image.new("L", (30, 20)).save(shop.root / "masks/day1.png")
    shop.prepare()
    assert shop.problems == {}
