import base64
import io
import math
import re
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.errors import InputError

META = {
    "classes": [
        {"title": "road", "shape": "bitmap", "color": "#804080", "geometry_config": {}, "id": 1, "hotkey": ""},
        {
            "title": "traffic light",
            "shape": "polygon",
            "color": "#FAAA1E",
            "geometry_config": {},
            "id": 2,
            "hotkey": "",
        },
        {"title": "pole", "shape": "line", "color": "#000001", "geometry_config": {}, "id": 3, "hotkey": ""},
    ],
    "tags": [],
    "projectType": "images",
}


def base64_bitmap(inside):
    """Pack a mask as the tool does: a palette PNG whose first colour is transparent, by zlib, in base64."""
    picture = Image.fromarray(inside.astype(np.uint8))
    picture.putpalette([0, 0, 0, 255, 255, 255])
    data = io.BytesIO()
    picture.save(data, format="PNG", transparency=0, optimize=0)
    return base64.b64encode(zlib.compress(data.getvalue())).decode()


def thing(label, kind, **geometry):
    return {
        "id": 5,
        "classId": 1,
        "description": "",
        "geometryType": kind,
        "labelerLogin": "user",
        "createdAt": "2026-01-05T10:00:00.000Z",
        "updatedAt": "2026-01-05T10:00:00.000Z",
        "tags": [],
        "classTitle": label,
        **geometry,
    }


def points(*exterior, interior=()):
    return {"exterior": [list(point) for point in exterior], "interior": [list(map(list, ring)) for ring in interior]}


def bitmap(label, inside, origin=(0, 0)):
    return thing(label, "bitmap", bitmap={"data": base64_bitmap(inside), "origin": list(origin)})


def file(*objects):
    return {"description": "", "tags": [], "size": {"height": 20, "width": 30}, "objects": list(objects)}


@pytest.fixture
def project(shop):
    """Writes a project of one dataset, with images where they come along."""

    def write(meta=META, folder="proj/ds0", images=False, **files):
        shop.json(f"{folder.split('/')[0]}/meta.json", meta)
        for name, content in files.items():
            shop.json(f"{folder}/ann/{name}.jpg.json", content)
            if images:
                shop.image(name, folder=f"{folder}/img")
        return shop.root / folder.split("/")[0]

    return write


def test_bitmaps_polygons_and_boxes_of_a_project(shop, boxes, project):
    light = [(2, 0), (5, 0), (5, 3), (2, 3)]  # corners are pixels
    pole = thing("pole", "line", points=points((1, 1), (9, 9)))
    whole = bitmap("road", np.full((10, 10), True), (10, 5)), thing("traffic light", "polygon", points=points(*light))
    box = thing("traffic light", "rectangle", points=points((5, 3), (2, 0)))
    shop.prepare(project(a=file(*whole, pole), c=file(whole[0], box)))
    shop.same(boxes, "a", "c")
    assert shop.told("drawn without an area, left out: 1 line")


def test_datasets_in_datasets_are_folders_of_images(shop, boxes, project):
    whole = bitmap("road", np.full((10, 10), True), (10, 5)), bitmap("traffic light", np.full((4, 4), True), (2, 0))
    shop.image("ds0/day2/b")
    shop.image("ds0/b")
    project(b=file(*whole))
    shop.prepare(project(folder="proj/ds0/datasets/day2", b=file(*whole)))
    shop.same(boxes, "ds0/b", "ds0/day2/b")


def test_images_that_come_along_are_read_where_they_are(tmp_path, shop, project):
    for path in (shop.root / "images").rglob("*.jpg"):
        path.unlink()
    (shop.root / "images/day1").rmdir()
    (shop.root / "images").rmdir()
    inside = np.full((4, 4), True)
    shop.prepare(project(images=True, **{name: file(bitmap("road", inside, (3, 2))) for name in ("a", "c")}))
    ids = shop.ids()
    assert set(ids) == {"proj/ds0/img/a", "proj/ds0/img/c"}
    assert all((found[2:6, 3:7] == 1).all() and np.count_nonzero(found) == 16 for found in ids.values())


def test_data_sets_that_are_called_so_are_the_split_and_pictures_of_masks_are_no_images(shop, boxes, project):
    inside = np.full((4, 4), True)
    for name, number in (("train", "d"), ("train", "e"), ("val", "f"), ("test", "g")):
        given = project(folder=f"proj/{name}", images=True, **{number: file(bitmap("road", inside, (3, 2)))})
        shop.mask(f"{number}.png", boxes, folder=f"proj/{name}/masks_machine")
    for name in ("a", "c", "day1/b"):
        (shop.root / f"images/{name}.jpg").unlink()
    (shop.root / "images/day1").rmdir()
    (shop.root / "images").rmdir()
    shop.prepare(given)
    named = {split: {one.id for one in Folder().records(shop.root, split)} for split in ("train", "val")}
    assert named == {"train": {"proj/train/img/d", "proj/train/img/e"}, "val": {"proj/val/img/f"}}


def test_a_polygon_with_holes_is_filled_as_opencv_does(shop, project):
    outside, hole = [(3, 2), (25, 4), (22, 18), (4, 15)], [(8, 6), (15, 7), (12, 12)]
    expected = np.zeros((20, 30), np.uint8)
    cv2.fillPoly(expected, [np.array(outside, np.int32)], 1)
    cv2.fillPoly(expected, [np.array(hole, np.int32)], 0)
    rings = points(*outside, interior=[hole])
    shop.prepare(
        project(a=file(thing("road", "polygon", points=rings)), c=file(thing("road", "multipolygon", parts=[rings])))
    )
    assert all((ids == expected).all() for ids in shop.ids().values())
    assert expected[8, 11] == 0


def test_a_turned_box_and_what_lies_beyond_the_border(shop, project):
    box = thing("road", "oriented_bbox", points=[[10, 8], [20, 12]], angle=math.pi / 2)
    shop.image("d")
    beyond = thing("road", "rectangle", points=points((-50, -50), (2, 1)))
    ids = shop.prepare(
        project(a=file(box), c=file(beyond), d=file(bitmap("road", np.full((9, 9), True), (-4, 15))))
    ).ids()
    assert set(zip(*np.nonzero(ids["a"]), strict=True)) == {(y, x) for y in range(5, 16) for x in range(13, 18)}
    assert np.count_nonzero(ids["c"]) == 6
    assert np.count_nonzero(ids["d"]) == 25


def test_old_projects_tell_the_geometry_by_the_class(shop, project, boxes):
    def old(label, **geometry):
        return {"description": "", "bitmap": None, "tags": [], "classTitle": label, "points": points(), **geometry}

    objects = [
        old("road", bitmap={"data": base64_bitmap(np.full((10, 10), True)), "origin": [10, 5]}),
        old("traffic light", points=points((2, 0), (5, 0), (5, 3), (2, 3))),
        old("road", bitmap={"data": base64_bitmap(np.full((2, 2), True)), "origin": [12, 7]}) | {"points": None},
        old("pole", points=points((1, 1), (9, 9), (1, 9))),
    ]
    shop.prepare(project(a=file(*objects), c=file(*objects)))
    shop.same(boxes, "a", "c")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (thing("dog", "cuboid_2d"), r"object 1 \(dog\): the geometry 'cuboid_2d' cannot be painted: expected bitmap"),
        (thing("road", "bitmap"), r"object 1 \(road\): it has no bitmap"),
        (bitmap("road", np.full((21, 3), True)), "its picture: 3 x 21 pixels"),
        (thing("road", "bitmap", bitmap={"data": "eA==", "origin": [0, 0]}), "its picture"),
        (thing("road", "rectangle", points=points((1, 1))), "a box has two corners, this one 1"),
        (thing("road", "multipolygon", parts=[points()]), "it has no corners"),
        (thing("road", "polygon", points=points((1, 1), (1e6, 2), (3, 3))), "a coordinate of more than 100000 pixels"),
    ],
)
def test_an_object_that_cannot_be_painted_costs_its_image_alone(shop, project, wrong, message):
    good = bitmap("road", np.full((4, 4), True))
    shop.prepare(project(a=file(good), b=file(good), c=file(good, wrong)))
    (problem,) = shop.problems["masks that cannot be converted"]
    assert re.search(message, problem)


def test_what_supervisely_does_not_write_is_one_line(shop, project):
    with pytest.raises(InputError, match=r"objects\[0\]: expected an entry with classTitle"):
        shop.prepare(project(a=file({"id": 1})))
    with pytest.raises(InputError, match=r"meta.json: classes: expected a list"):
        shop.prepare(project(meta={"classes": 1}, a=file()))
    with pytest.raises(InputError, match=r"meta.json: two classes are called 'road'"):
        shop.prepare(project(meta={"classes": [*META["classes"], {"title": "road"}]}, a=file()))
