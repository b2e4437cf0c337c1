import base64
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from semivl_cli.errors import InputError


def shape(label, kind, points, **more):
    """Return a shape as labelme 5 and later write it."""
    return {
        "label": label,
        "points": points,
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
        **more,
    }


def x_shape(label, kind, points, **more):
    """Return a shape as X-AnyLabeling writes it."""
    return {
        "label": label,
        "score": None,
        "points": points,
        "group_id": None,
        "description": "",
        "difficult": False,
        "shape_type": kind,
        "flags": {},
        "attributes": {},
        "kie_linking": [],
        **more,
    }


def file(image, shapes, **more):
    return {
        "version": "7.1.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": None,
        "imageHeight": 20,
        "imageWidth": 30,
        **more,
    }


def base64_png(shop, inside):
    return base64.b64encode(shop.png(inside.astype(np.uint8))).decode()


def corners(points):
    return [[float(x), float(y)] for x, y in points]


def test_shapes_beside_images_of_another_machine(shop, boxes):
    light = base64_png(shop, np.full((4, 4), True))
    shapes = [
        shape("road", "polygon", shop.road),
        shape("traffic light", "mask", [[2, 0], [5, 3]], mask=light),
        shape("never a class", "linestrip", [[0, 0], [9, 9]]),
        shape("nor this", "polygon", [[0, 0], [9, 9]]),
    ]
    shop.json("json/a.json", file("..\\images\\a.jpg", shapes))
    shapes = [
        shape("road", "rectangle", [shop.road[2], shop.road[0]]),
        shape("traffic light", "rectangle", [shop.light[0], shop.light[2]]),
    ]
    shop.json("json/day1/b.json", file("C:\\photos\\b.jpg", shapes, version="5.5.0"))
    shop.prepare(shop.root / "json")
    shop.same(boxes, "a", "day1/b")
    assert shop.told("drawn without an area, left out: 1 linestrip, 1 polygon of 2 points")


def test_files_of_labelme_3_say_nothing_of_types_and_sizes(shop, boxes):
    old = [
        {"label": label, "line_color": None, "fill_color": None, "points": points}
        for label, points in (("road", shop.road), ("traffic light", shop.light))
    ]
    for name in ("a", "c"):
        content = {"version": "3.4.1", "flags": {}, "shapes": old, "imagePath": f"{name}.jpg", "imageData": "aGk="}
        shop.json(f"json/{name}.json", {**content, "lineColor": [0, 255, 0, 128], "fillColor": [255, 0, 0, 128]})
    shop.prepare(shop.root / "json")
    shop.same(boxes, "a", "c")


def test_rectangles_of_four_corners_and_turned_ones_as_x_anylabeling_writes_them(shop, boxes):
    (left, top), _, (right, bottom), _ = shop.light
    for name, kind in (("a", "rotation"), ("c", "quadrilateral")):
        shapes = [
            x_shape("road", "rectangle", corners(shop.road)),
            x_shape("traffic light", kind, corners([(right, top), (right, bottom), (left, bottom), (left, top)])),
        ]
        content = file(f"{name}.jpg", shapes, version="4.0.2", checked="failed", imageHeight=-1, imageWidth=-1)
        shop.json(f"json/{name}.json", {**content, "description": ""})
    shop.prepare(shop.root / "json")
    shop.same(boxes, "a", "c")


def test_an_oriented_rectangle_is_its_four_points(shop):
    for name, kind in (("a", "oriented_rectangle"), ("c", "polygon")):
        shop.json(f"json/{name}.json", file(f"{name}.jpg", [shape("road", kind, [[9, 1], [15, 7], [12, 10], [6, 4]])]))
    ids = shop.prepare(shop.root / "json").ids()
    assert ids["a"].any()
    assert (ids["a"] == ids["c"]).all()


def test_a_circle_is_round(shop):
    for name in ("a", "c"):
        shop.json(f"json/{name}.json", file(f"{name}.jpg", [shape("road", "circle", [[15, 10], [20, 10]])]))
    shop.prepare(shop.root / "json")
    y, x = np.mgrid[:20, :30] + 0.5
    assert np.count_nonzero(shop.ids()["a"] != ((x - 15) ** 2 + (y - 10) ** 2 < 25)) <= 8


def test_a_mask_whose_box_ends_one_pixel_beyond_the_border_is_cut_off_there(shop):
    inside = np.full((5, 10), True)  # its box says 6 x 11, as labelme 5.2 wrote it
    inside[2, 3] = False
    for name in ("a", "c"):
        mask = shape("road", "mask", [[20, 15], [30, 20]], mask=base64_png(shop, inside))
        shop.json(f"json/{name}.json", file(f"{name}.jpg", [mask]))
    ids = shop.prepare(shop.root / "json").ids()
    assert (ids["a"][15:, 20:] == inside).all()
    assert np.count_nonzero(ids["a"]) == np.count_nonzero(inside)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            x_shape("car", "cuboid", [[1, 1]] * 8),
            r"shape 1 \(car\): the type 'cuboid' cannot be painted: expected poly",
        ),
        (x_shape("car", "ring", []), "the type 'ring' cannot be painted"),
        (
            shape("road", "rectangle", [[1, 1], [2, 2], [3, 3]]),
            "a rectangle has two points or four corners, this one 3",
        ),
        (shape("road", "rotation", [[1, 1], [2, 2]]), "a shape of the type 'rotation' has four points, this one 2"),
        (shape("road", "circle", [[1, 1]]), "a circle has two points, this one 1"),
        (shape("road", "polygon", [[1, 1], [2, 2], [1e9, 3]]), "a polygon has the coordinate 1e.09, which is far out"),
        (shape("road", "mask", [[1, 1], [4, 4]]), "its picture: not an image that can be read"),
        (shape("road", "mask", [[1, 1], [4, 4]], mask="!"), "its picture is no base64 text"),
    ],
)
def test_a_shape_that_cannot_be_painted_costs_its_image_alone(shop, boxes, wrong, message):
    shapes = [shape("road", "polygon", shop.road), shape("traffic light", "polygon", shop.light)]
    for name in ("a", "day1/b"):
        shop.json(f"json/{name}.json", file(f"{name[-1]}.jpg", shapes))
    shop.json("json/c.json", file("c.jpg", [shapes[0], wrong]))
    shop.prepare(shop.root / "json")
    (problem,) = shop.problems["masks that cannot be converted"]
    assert re.search(message, problem)
    for name in ("a", "day1/b"):
        assert (np.array(Image.open(shop.root / f"prepared/masks/{name}.png")) == boxes).all()


@pytest.mark.parametrize(("size", "box"), [((3, 3), [[2, 2], [9, 9]]), ((8, 3), [[2, 2], [4, 4]])])
def test_a_mask_of_another_size_than_its_box_is_refused(shop, size, box):
    mask = shape("road", "mask", box, mask=base64_png(shop, np.full(size, True)))
    for name in ("a", "c"):
        shop.json(f"json/{name}.json", file(f"{name}.jpg", [mask]))
    shop.prepare(shop.root / "json")
    assert "its mask is 3 x" in shop.problems["masks that cannot be converted"][0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (file("a.jpg", [shape(None, "polygon", [])]), "label: expected .*, got None"),
        (file("a.jpg", [{"points": []}]), r"shapes\[0\]: expected an entry with label"),
        (file("a.jpg", [shape("road", "polygon", [[1]])]), r"shapes\[0\].points\[0\]"),
        (file("a.jpg", [shape("road", "polygon", [[1, "2"]])]), r"points\[0\]\[1\]: expected a number, got '2'"),
        (file(3, []), "imagePath: expected"),
    ],
)
def test_a_file_that_labelme_would_not_read_is_one_line(shop, content, message):
    with pytest.raises(InputError, match=message):
        shop.prepare(shop.json("json/a.json", content))


@pytest.mark.parametrize("places", [("a", "sub/a"), ("images/day1/a", "images/day2/a")])
def test_images_come_along_in_folders_of_one_name(shop, places):
    shutil.rmtree(shop.root / "images")
    for number, (place, box) in enumerate(zip(places, (shop.road, shop.light), strict=True)):
        image = shop.image(place, folder="job")
        image.write_bytes(shop.png(np.full((20, 30, 3), 9 * number, np.uint8)))
        beside = place.replace("images/", "json/")
        path = "a.jpg" if beside == place else f"..\\..\\{place}.jpg".replace("/", "\\")
        shop.json(f"job/{beside}.json", file(path, [shape("road", "polygon", corners(box))]))
    ids = shop.prepare(shop.root / "job").ids()
    assert {name: np.count_nonzero(found) for name, found in ids.items()} == {
        f"job/{places[0]}": 100,
        f"job/{places[1]}": 16,
    }


def test_a_file_that_is_called_otherwise_than_its_image_means_the_path_in_it(shop):
    shop.image("day2/b")
    for day, box in ((1, shop.road), (2, shop.light), (3, shop.road)):
        content = file(f"..\\photos\\day{day}\\b.jpg", [shape("road", "polygon", corners(box))])
        shop.json(f"json/day{day}_b.json", content)
    shop.json("json/day1/c.json", {"item": {"name": "c.jpg"}, "annotations": []})
    shop.prepare(shop.root / "json")
    masks = [np.array(Image.open(shop.root / f"prepared/masks/day{day}/b.png")) for day in (1, 2)]
    assert list(map(np.count_nonzero, masks)) == [100, 16]
    (problem,) = shop.problems["masks that cannot be matched with an image"]
    assert problem.endswith("photos/day3/b.jpg: no such image")
    assert shop.told("JSON files that are not labelme's: ", "day1/c.json")
