import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw

from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.cityscapes import open_cityscapes
from semivl_cli.errors import InputError

CLASSES = (("road", (128, 64, 128)), ("car", (0, 0, 142)), ("polegroup", (1, 2, 3)))


def polygons(*objects, size=(20, 30)):
    """A file as the dataset's label tool writes it."""
    entries = [
        {"date": "25-Jun-2019 23:14:25", "deleted": 0, "draw": True, "id": number, "label": label, "polygon": polygon}
        | ({"deleted": 1} if deleted else {})
        for number, (label, polygon, *deleted) in enumerate(objects)
    ]
    return {"imgHeight": size[0], "imgWidth": size[1], "objects": entries}


ALL = [[0, 0], [29, 0], [29, 19], [0, 19]]
BOX = [[10, 5], [19, 5], [19, 14], [10, 14]]


def test_polygons_of_a_city_are_painted_as_its_own_tool_does(shop):
    shop.image("aachen/aachen_000000_000019_leftImg8bit")
    shop.image("aachen/aachen_000001_000019_leftImg8bit")
    content = polygons(
        ("road", ALL),
        ("cargroup", BOX),
        ("license plate", [[12, 6], [14, 6], [14, 8], [12, 8]]),
        ("sky", ALL, True),
        ("ego vehicle", [[0, 15], [29, 15], [29, 19], [0, 19]]),
        ("polegroup", [[0, 0], [3, 0], [3, 3]]),
    )
    for number in (0, 1):
        shop.json(f"gtFine/train/aachen/aachen_00000{number}_000019_gtFine_polygons.json", content)
    shop.prepare(shop.root / "gtFine", classes=CLASSES)
    picture = Image.new("L", (30, 20), 255)
    draw = ImageDraw.Draw(picture)
    draw.polygon([tuple(corner) for corner in ALL], fill=0)
    draw.polygon([tuple(corner) for corner in BOX], fill=1)
    draw.rectangle((0, 15, 29, 19), fill=255)
    draw.polygon([(0, 0), (3, 0), (3, 3)], fill=2)
    found = np.array(Image.open(shop.root / "prepared/masks/aachen/aachen_000000_000019_leftImg8bit.png"))
    assert (found == np.array(picture)).all()
    assert shop.problems == {}
    assert shop.told("'ego vehicle': ignored, for no class is called so")


def test_a_label_that_the_dataset_does_not_know_is_no_class(shop):
    shop.json("x_gtFine_polygons.json", polygons(("unicorn", BOX)))
    with pytest.raises(InputError, match="'unicorn' is no class"):
        shop.prepare(shop.root / "x_gtFine_polygons.json", classes=CLASSES)


def test_what_is_broken_is_one_line(shop):
    path = shop.json("a_polygons.json", {**polygons(), "objects": [{"label": "road", "polygon": [[1, 2, 3]]}]})
    with pytest.raises(InputError, match=r"objects\[0\]\.polygon\[0\]: list should have at most 2"):
        open_cityscapes(Tree(path))
    path = shop.json("a_polygons.json", polygons(("road", [[0, 0], [3, 0], [10**7, 3]])))
    with pytest.raises(InputError, match="only 'a' has a mask"):
        shop.prepare(path, classes=CLASSES)
    assert shop.told(f"{path}: object 0 (road): a polygon has a corner that is far outside of any image")


def test_polygons_of_fewer_than_three_points_are_counted_and_need_no_class(shop):
    path = shop.json("a_polygons.json", polygons(("unicorn", [[1, 2], [3, 4]]), ("road", [[5, 5]])))
    (drawing,) = open_cityscapes(Tree(path)).drawings()
    assert (drawing.image, drawing.size, drawing.marks) == ("a.png", (20, 30), 2)
    with pytest.raises(InputError, match="only 'a' has a mask"):
        shop.prepare(path, classes=CLASSES)
    assert shop.told("drawn without an area, left out: 1 polygon of 2 points, 1 polygon of 1 points")
    assert shop.told("2 things are drawn on a.png, and nothing of that has an area")


def test_the_dataset_is_read_as_it_is_downloaded(shop):
    shutil.rmtree(shop.root / "images")
    for number, part in enumerate(("train/aachen/aachen", "val/lindau/lindau")):
        image = shop.image(f"cityscapes/leftImg8bit/{part}_000000_000019_leftImg8bit", folder=".")
        image.write_bytes(shop.png(np.full((20, 30, 3), 9 * number, np.uint8)))
        shop.json(f"cityscapes/gtFine/{part}_000000_000019_gtFine_polygons.json", polygons(("road", ALL)))
    shop.prepare(shop.root / "cityscapes", classes=CLASSES)
    assert shop.problems == {}
    assert len(list((shop.root / "prepared/masks").rglob("*/aachen_000000_000019_leftImg8bit.png"))) == 1
    assert shop.told("1 training and 1 validation images")
