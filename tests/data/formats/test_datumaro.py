import shutil

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.datumaro import open_datumaro
from semivl_cli.errors import InputError


def subset(*items):
    """A subset as Datumaro's exporter writes it: `items` are (name of the image, shapes)."""
    return {
        "dm_format_version": "1.0",
        "media_type": 2,
        "infos": {},
        "categories": {
            "label": {
                "labels": [
                    {"name": name, "parent": "", "attributes": []} for name in ("background", "Road", "traffic_light")
                ],
                "label_groups": [],
                "attributes": ["occluded"],
            },
            "mask": {"colormap": [{"label_id": 1, "r": 128, "g": 64, "b": 128}]},
        },
        "items": [
            {
                "id": name,
                "annotations": [
                    {"id": number, "attributes": {"occluded": False}, "group": 0, "z_order": 0, **shape}
                    for number, shape in enumerate(shapes)
                ],
                "attr": {"frame": 0},
                "image": {"path": f"{name}.jpg", "size": [20, 30]},
            }
            for name, shapes in items
        ],
    }  # fmt: skip


def rle(inside):
    code = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {"counts": code["counts"].decode("ascii"), "size": list(code["size"])}


def test_polygons_boxes_and_masks_are_painted(shop, boxes):
    road = {"type": "polygon", "label_id": 1, "points": shop.flat(shop.road)}
    light = {"type": "mask", "label_id": 2, "rle": rle(boxes == 2)}
    shop.json("export/annotations/train.json", subset(("a", [road, light]), ("c", [])))
    road = {"type": "bbox", "label_id": 1, "bbox": [10.0, 5.0, 10.0, 10.0]}
    shop.json("export/annotations/val.json", subset(("day1/b", [road, light])))
    shop.prepare(shop.root / "export")
    shop.same(boxes, "a", "day1/b")
    assert shop.told("1 of 2 images have no shape: they have no mask")
    assert shop.told("wrote", "2 training and 1 validation images")


def painted(shop, *shapes):
    (drawing,) = open_datumaro(Tree(shop.json("x.json", subset(("a", shapes))))).drawings()

    class Key:
        background, class_of = 0, {"Road": 1, "traffic_light": 2}

    return drawing.paint(Key, (20, 30)).ids


def test_the_higher_z_order_lies_on_top_and_an_ellipse_fills_its_box(shop):
    box = {"type": "bbox", "label_id": 1, "bbox": [10, 5, 10, 10], "z_order": 1}
    found = painted(shop, box, {"type": "ellipse", "label_id": 2, "points": [5, 5, 25, 15], "z_order": 0})
    y, x = np.mgrid[:20, :30] + 0.5
    assert (found[5:15, 10:20] == 1).all()
    assert np.count_nonzero((found > 0) != ((((x - 15) / 10) ** 2 + ((y - 10) / 5) ** 2 < 1) | (found == 1))) <= 8


def test_what_has_no_area_is_counted_and_needs_no_class(shop):
    flat = [{"type": "points", "label_id": 0, "points": [1, 1]}, {"type": "label", "label_id": 0}]
    box = {"type": "bbox", "label_id": 1, "bbox": [10, 5, 10, 10]}
    source = open_datumaro(Tree(shop.json("x.json", subset(("a", [*flat, box])))))
    assert source.labels == {"Road": (128, 64, 128)}
    assert source.notes == ["shapes that have no area are left out: points (1)"]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"type": "bbox", "label_id": 7, "bbox": [1, 1, 1, 1]}, "item a: bbox has the label 7, of 3 labels"),
        ({"type": "bbox", "label_id": 1, "bbox": [1, 1, 1]}, r"item a: bbox \(Road\): expected four numbers, got 3"),
        ({"type": "mask", "label_id": 1}, "expected a run-length code"),
        ({"type": "polygon", "label_id": 1, "points": [1, "x"]}, "expected a number"),
    ],
)
def test_broken_shapes_are_one_line(shop, shape, message):
    with pytest.raises(InputError, match=message):
        painted(shop, shape)


def test_a_box_of_cvat_turns_about_its_centre_clockwise(shop):
    box = {"type": "bbox", "label_id": 1, "bbox": [10, 5, 10, 4], "attributes": {"occluded": False, "rotation": 90.0}}
    found = painted(shop, box)
    assert (found[2:12, 13:17] == 1).all()
    assert np.count_nonzero(found) == 40
    own = {**box, "attributes": {"rotation": "to the left"}}
    assert np.count_nonzero(painted(shop, own)[5:9, 10:20]) == 40


def test_a_shape_that_is_not_known_costs_its_image(shop):
    road = {"type": "bbox", "label_id": 1, "bbox": [10, 5, 10, 10]}
    turned = {"type": "rotated_bbox", "label_id": 2, "x": 5, "y": 5, "w": 3, "h": 3, "r": 45}
    with pytest.raises(InputError, match="item a: rotated_bbox cannot be painted: expected polygon, bbox"):
        painted(shop, road, turned)


def test_each_subset_has_its_own_folder_of_images(shop):
    shutil.rmtree(shop.root / "images")
    for number, (name, box) in enumerate({"train": [10.0, 5.0, 10.0, 10.0], "val": [2.0, 0.0, 4.0, 4.0]}.items()):
        image = shop.image(f"images/{name}/a", folder="export")
        image.write_bytes(shop.png(np.full((20, 30, 3), 9 * number, np.uint8)))
        shape = {"type": "bbox", "label_id": 1, "bbox": box}
        shop.json(f"export/annotations/{name}.json", subset(("a", [shape])))
    ids = shop.prepare(shop.root / "export").ids()
    assert {name: np.count_nonzero(found) for name, found in ids.items()} == {
        "export/images/train/a": 100,
        "export/images/val/a": 16,
    }
