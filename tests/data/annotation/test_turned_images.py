import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from semivl_cli.data.annotation.annotations import Drawing
from semivl_cli.data.annotation.turned_images import UnclearOrientation, drawn_as
from semivl_cli.data.read.orientation import Layout
from semivl_cli.data.read.orientation import turned as show

ORIENTATIONS = st.integers(1, 8)


@given(ORIENTATIONS, st.integers(1, 5), st.integers(1, 5))
def test_pixels_are_turned_as_pillow_turns_a_photograph(orientation, height, width):
    pixels = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    picture = Image.fromarray(pixels)
    picture.getexif()[0x0112] = orientation
    data = io.BytesIO()
    picture.save(data, "PNG", exif=picture.getexif())
    with Image.open(data) as stored:
        assert (show(pixels, orientation) == np.array(ImageOps.exif_transpose(stored))).all()


def drawing(size):
    return Drawing(image="a.jpg", origin="x.json: image 1", stamp="", paint=lambda key, size: None, size=size)


@given(ORIENTATIONS, st.integers(1, 4), st.integers(1, 4), st.sampled_from([None, "shown", "stored"]))
def test_sizes_tell_or_the_user_does_or_one_line_asks(orientation, height, width, said):
    image = Layout((height, width), orientation)
    for size in (image.stored, image.shown, None):
        clear = orientation == 1 or (size is not None and image.stored != image.shown)
        if clear:
            expected = "stored" if orientation != 1 and size == image.stored else "shown"
            assert drawn_as(drawing(size), image, said) == expected
        elif said is not None:
            assert drawn_as(drawing(size), image, said) == said
        else:
            with pytest.raises(UnclearOrientation, match='say orientation = "shown" or orientation = "stored"'):
                drawn_as(drawing(size), image, said)


def turned(shop, name, orientation, size=(20, 30)):
    """A photograph whose pixels are stored as `size` and shown turned."""
    noise = np.random.default_rng(3).integers(0, 255, (*size, 3), np.uint8)
    picture = Image.fromarray(noise)
    picture.getexif()[0x0112] = orientation
    picture.save(shop.root / f"images/{name}.jpg", exif=picture.getexif())


def coco(shop, names, width, height):
    return shop.json("x.json", {
        "images": [
            {"id": n, "file_name": f"{name}.jpg", "width": width, "height": height} for n, name in enumerate(names)
        ],
        "categories": [{"id": 1, "name": "road"}],
        "annotations": [
            {"id": n + 1, "image_id": n, "category_id": 1, "segmentation": [shop.flat(shop.road)], "area": 9}
            for n in range(len(names))
        ],
    })  # fmt: skip


def test_polygons_on_stored_pixels_are_turned_with_them(shop, boxes):
    for name in ("a", "c"):
        turned(shop, name, 6)
    shop.prepare(coco(shop, ["a", "c"], 30, 20))
    shop.same(np.rot90(boxes == 1, -1), "a", "c")
    turned(shop, "a", 6, (30, 20))
    turned(shop, "c", 6, (30, 20))
    shop.prepare(coco(shop, ["a", "c"], 30, 20))  # as it is shown
    shop.same(boxes == 1, "a", "c")


def test_masks_of_the_stored_size_are_turned_without_being_asked_for(shop, boxes):
    for name in ("a", "c"):
        turned(shop, name, 8)
        shop.mask(f"{name}.png", boxes)
    shop.prepare()
    shop.same(np.rot90(boxes), "a", "c")
    assert shop.told("images are shown turned (EXIF)")


@pytest.mark.parametrize("given", ["polygons", "masks"])
def test_what_sizes_cannot_tell_is_asked_once_and_then_done(shop, boxes, given):
    for name in ("a", "c"):
        turned(shop, name, 3)
        if given == "masks":
            shop.mask(f"{name}.png", (boxes == 1).astype(np.uint8))
    source = [coco(shop, ["a", "c"], 30, 20)] if given == "polygons" else []
    shop.prepare(*source)
    (kind,) = shop.problems
    assert kind == "images that may have been drawn on as shown or as stored"
    assert "is shown turned (EXIF orientation 3)" in shop.problems[kind][0]
    assert not (shop.root / "prepared/masks/a.png").exists()
    (shop.root / "dataset.toml").write_text('orientation = "stored"')
    shop.prepare(*source)
    shop.same(np.rot90(boxes == 1, 2), "a", "c")
    (shop.root / "dataset.toml").write_text('orientation = "shown"')
    shop.prepare(*source)
    shop.same(boxes == 1, "a", "c")
