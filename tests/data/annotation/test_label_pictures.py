import numpy as np
import pytest
from PIL import Image

COLORS = np.array([(0, 0, 0), (128, 64, 128), (250, 170, 30)], np.uint8)


def as_ids(ids):
    return Image.fromarray(ids)


def as_palette(ids):
    picture = Image.fromarray(ids)
    picture.putpalette(bytes(range(200, 209)))
    return picture


def as_16_bits(ids):
    return Image.fromarray(ids.astype(np.uint16))


def as_colors(ids):
    return Image.fromarray(COLORS[ids])


def as_opaque_colors(ids):
    return Image.fromarray(np.dstack((COLORS[ids], np.full(ids.shape, 255, np.uint8))))


@pytest.mark.parametrize("form", [as_ids, as_palette, as_16_bits, as_colors, as_opaque_colors])
def test_masks_of_every_form_mean_the_same(shop, boxes, form):
    for name in ("a", "day1/b"):
        (shop.root / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        form(boxes).save(shop.root / "masks" / f"{name}.png")
    shop.prepare()
    found = shop.ids()
    assert set(found) == {"a", "day1/b"}
    assert all((ids == boxes).all() for ids in found.values())
    converted = (shop.root / "prepared/masks").exists()
    assert converted == (form in (as_colors, as_opaque_colors))


def test_large_ids_and_binary_masks_mean_what_dataset_toml_says(shop, boxes):
    for name, raw in (
        ("a", np.array([0, 1000, 60000])[boxes].astype(np.uint16)),
        ("c", (boxes > 0).astype(np.uint8) * 255),
    ):
        shop.mask(f"{name}.png", raw)
    (shop.root / "dataset.toml").write_text("values = { 0 = 0, 1000 = 1, 60000 = 2, 255 = 1 }")
    shop.prepare()
    assert (shop.ids()["a"] == boxes).all()
    assert (shop.ids()["c"] == (boxes > 0)).all()


def test_a_mask_of_another_size_is_refused_by_its_header(shop, boxes):
    for name in ("a", "c"):
        shop.mask(f"{name}.png", shop.colored(boxes))
    huge = Image.new("1", (20_000, 30_000))  # 75 MB of pixels where they are read, of bytes hardly any
    huge.save(shop.root / "masks/day1.png")
    (shop.root / "masks/day1").mkdir()
    (shop.root / "masks/day1.png").rename(shop.root / "masks/day1/b.png")
    (problem,) = shop.prepare().problems["masks that cannot be converted"]
    assert "the mask is 20000 x 30000 pixels (width x height)" in problem or "more than 500 megapixels" in problem


def test_many_colors_that_are_no_class_are_counted_the_most_frequent_first(shop, boxes):
    pixels = shop.colored(boxes)
    pixels[0, 0], pixels[1, :3] = (1, 2, 3), (4, 5, 6)
    shop.mask("a.png", pixels)
    shop.mask("c.png", shop.colored(boxes))
    (problem,) = shop.prepare().problems["masks that cannot be converted"]
    assert "the colours #040506 (3 pixels), #010203 (1 pixels) are no classes" in problem
