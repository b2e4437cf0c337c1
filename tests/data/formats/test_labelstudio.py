import base64
import re

import numpy as np
import pytest
from PIL import Image

from semivl_cli.errors import InputError


def percent(points):
    return [[x / 30 * 100, y / 20 * 100] for x, y in points]


@pytest.fixture
def brush(encode_brush):
    def stroke(inside):
        rgba = np.zeros((*inside.shape, 4), np.uint8)
        rgba[inside] = (200, 30, 9, 255)
        return encode_brush(rgba.ravel().tolist(), [3, 4, 8, 16])

    return stroke


def region(kind, value, **more):
    return {
        "original_width": 30,
        "original_height": 20,
        "image_rotation": 0,
        "value": value,
        "id": f"r{abs(hash(repr(value)))}",
        "from_name": "tag",
        "to_name": "image",
        "type": kind,
        "origin": "manual",
        **more,
    }


def polygon(points, *labels, **more):
    return region("polygonlabels", {"points": percent(points), "closed": True, "polygonlabels": list(labels)}, **more)


def task(number, data, *results, **more):
    """Return a task with one annotation as the JSON export holds it."""
    annotation = {
        "id": 100 + number,
        "completed_by": 1,
        "result": list(results),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-01-05T10:00:00.000000Z",
        "updated_at": "2026-01-05T10:05:00.000000Z",
        "lead_time": 12.3,
    }
    data = {"image": data} if isinstance(data, str) else data
    return {
        "id": number,
        "annotations": [annotation],
        "drafts": [],
        "predictions": [],
        "data": data,
        "meta": {},
        **more,
    }


@pytest.fixture
def regions(shop):
    """What draws the class map of `boxes`."""
    return polygon(shop.road, "road"), polygon(shop.light, "traffic light")


def test_label_studio_json(shop, boxes, brush):
    strokes = [
        region("brushlabels", {"format": "rle", "rle": brush(boxes == 1), "brushlabels": ["road"]}),
        region("polygonlabels", {"points": percent(shop.light), "polygonlabels": ["traffic light"], "closed": True}),
        region("keypointlabels", {"x": 3, "y": 3, "width": 1, "keypointlabels": ["never a class"]}),
        {"id": "c1", "type": "choices", "value": {"choices": ["sunny"]}},
        {"type": "relation", "from_id": "r1", "to_id": "r2", "direction": "right"},
    ]
    rectangles = [
        region(
            "rectanglelabels",
            {"x": 100 / 3, "y": 25, "width": 100 / 3, "height": 50, "rotation": 0, "rectanglelabels": ["road"]},
        ),
        region("polygonlabels", {"points": percent(shop.light), "polygonlabels": ["traffic light"]}),
    ]
    tasks = [
        {
            "id": 1,
            "data": {"image": "/data/upload/3/e875f554-a.jpg"},
            "predictions": [],
            "annotations": [
                {"id": 5, "was_cancelled": True, "result": rectangles[:1], "updated_at": "2030"},
                {"id": 6, "was_cancelled": False, "result": rectangles[:1], "updated_at": "2021-03-09"},
                {"id": 7, "was_cancelled": False, "result": strokes, "updated_at": "2021-03-10"},
            ],
        },
        {"id": 2, "data": {"image": "/data/local-files/?d=photos/day1/b.jpg"}, "annotations": [{"result": rectangles}]},
        {"id": 3, "data": {"image": "s3://bucket/c.jpg"}, "annotations": []},
    ]
    shop.prepare(shop.json("project-3-at-2026.json", tasks))
    shop.same(boxes, "a", "day1/b")
    assert shop.told("1 of 3 tasks were not annotated")
    assert shop.told("1 tasks were annotated more than once")
    assert shop.told("drawn without an area, left out: 1 keypointlabels")


def test_label_studio_json_min(shop, boxes, brush):
    size = {"original_width": 30, "original_height": 20}

    def record(name, number, updated, *values):
        return {
            "image": f"/data/upload/1/0123abcd-{name}.jpg",
            "id": number,
            "tag": list(values),
            "weather": "sunny",
            "score": [{"rating": 4}],
            "annotator": 1,
            "annotation_id": 2,
            "created_at": "2026-01-05T10:00:00.000000Z",
            "updated_at": updated,
            "lead_time": 1.5,
        }

    good = (
        {"format": "rle", "rle": brush(boxes == 1), "brushlabels": ["road"], **size},
        {"points": percent(shop.light), "closed": True, "polygonlabels": ["traffic light"], **size},
    )
    records = [record("a", 4, "2026-02", *good), record("b", 5, "2026-01", good[0]), record("b", 5, "2026-02", *good)]
    shop.prepare(shop.json("min.json", records))
    shop.same(boxes, "a", "day1/b")
    assert shop.told("1 tasks were annotated more than once")


def test_opaque_pixels_of_a_bitmask_are_its_region(shop, boxes):
    def bitmask(inside):
        rgba = np.zeros((*inside.shape, 4), np.uint8)
        rgba[inside, 3] = 255  # black on transparent, as the editor draws
        return f"data:image/png;base64,{base64.b64encode(shop.png(rgba)).decode()}"

    results = [
        region("bitmasklabels", {"imageDataURL": bitmask(boxes == number), "bitmasklabels": [label]})
        for number, label in ((1, "road"), (2, "traffic light"))
    ]
    small = region("bitmasklabels", {"imageDataURL": bitmask(boxes[:-1] == 1), "bitmasklabels": ["road"]})
    broken = region("bitmasklabels", {"imageDataURL": "data:image/png;base64,aGk=", "bitmasklabels": ["road"]})
    tasks = [task(1, "a.jpg", *results), task(2, "day1/b.jpg", *results), task(3, "c.jpg", small)]
    shop.image("d")
    shop.prepare(shop.json("x.json", [*tasks, task(4, "d.jpg", broken)]))
    wrong_size, unread = shop.problems.pop("masks that cannot be converted")
    assert "(road): its bitmask is 30 x 19 pixels (width x height), the image 30 x 20" in wrong_size
    assert "(road): its picture: not an image that can be read" in unread
    assert (np.array(Image.open(shop.root / "prepared/masks/a.png")) == boxes).all()


def test_a_shape_and_its_label_may_be_two_results(shop, boxes):
    """As configurations with <Labels> beside <Polygon> have it."""
    results = []
    for name, points in (("road", shop.road), ("traffic light", shop.light)):
        value = {"points": percent(points), "closed": True}
        results += [
            region("polygon", value, id=name, from_name="shape"),
            region("labels", {**value, "labels": [name]}, id=name, from_name="label"),
            region("choices", {**value, "choices": ["dirty"]}, id=name, from_name="state"),
        ]
    shop.prepare(shop.json("x.json", [task(1, "a.jpg", *results), task(2, "day1/b.jpg", *results)]))
    shop.same(boxes, "a", "day1/b")
    assert not shop.told("no label")


def test_what_was_chosen_for_a_region_is_its_label_where_it_has_none(shop, boxes):
    """As configurations with <Polygon> and <Choices perRegion="true"> have it."""
    results = [region("choices", {"choices": ["whole image"]}, from_name="weather")]
    for name, points in (("road", shop.road), ("traffic light", shop.light)):
        value = {"points": percent(points), "closed": True}
        results.append(region("polygon", value, id=name, from_name="shape"))
        results.append(region("choices", {**value, "choices": [name]}, id=name, from_name="class"))
    tasks = [task(1, "a.jpg", *results), task(2, "day1/b.jpg", *results)]
    shop.prepare(shop.json("x.json", tasks))
    shop.same(boxes, "a", "day1/b")
    two = [region("choices", {**value, "choices": ["blurred"]}, id="road", from_name="quality")]
    shop.prepare(shop.json("x.json", [*tasks, task(3, "c.jpg", *results, *two)]))
    assert shop.told("1 regions have no label: their pixels are ignored")


def test_an_area_without_a_label_is_ignored_and_told(shop, boxes, regions):
    nameless = region("rectangle", {"x": 90, "y": 90, "width": 10, "height": 10, "rotation": 0})
    shop.prepare(
        shop.json("x.json", [task(number, f"{name}.jpg", *regions, nameless) for number, name in enumerate("ac")])
    )
    boxes[18:, 27:] = 255
    shop.same(boxes, "a", "c")
    assert shop.told("2 regions have no label: their pixels are ignored")


def test_turned_boxes_ellipses_and_closed_vectors(shop):
    turned = {"x": 50, "y": 25, "width": 20, "height": 45, "rotation": 90, "rectanglelabels": ["road"]}
    vertices = [{"id": str(x + y), "x": x, "y": y, "isBezier": False} for x, y in ((10, 10), (30, 10), (30, 50))]
    results = {
        "a": region("rectanglelabels", turned),
        "c": region("vectorlabels", {"vertices": vertices, "closed": True, "vectorlabels": ["road"]}),
        "d": region("ellipselabels", {"x": 50, "y": 50, "radiusX": 20, "radiusY": 30, "ellipselabels": ["road"]}),
        "day1/b": polygon([(15, 5), (15, 11), (6, 11), (6, 5)], "road"),
    }
    shop.image("d")
    ids = shop.prepare(shop.json("x.json", [task(1, f"{name}.jpg", one) for name, one in results.items()])).ids()
    assert (ids["a"] == ids["day1/b"]).all()
    assert 10 < np.count_nonzero(ids["c"]) < 60
    assert abs(np.count_nonzero(ids["d"]) - np.pi * 36) < 8


def test_a_region_belongs_to_the_picture_that_its_tag_shows(shop, boxes, regions):
    data = {"image": "/data/upload/3/e875f551-a.jpg", "image2": "/data/upload/3/f875f551-b.jpg", "who": "me"}
    second = [{**one, "to_name": "image2"} for one in regions]
    shop.prepare(shop.json("x.json", [task(1, data, *regions, *second)]))
    shop.same(boxes, "a", "day1/b")


def test_a_region_belongs_to_the_image_of_its_item_index(shop, boxes, regions):
    data = {"images": [f"/data/upload/3/e875f551-{name}.jpg" for name in "abc"]}
    results = [{**one, "to_name": "imgs", "item_index": index} for one in regions for index in (1, 0)]
    shop.prepare(shop.json("x.json", [task(1, data, *results)]))
    shop.same(boxes, "a", "day1/b")
    assert shop.told("1 images of tasks with several have no region: they have no mask")


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        (
            {"before": "a.jpg", "after": "c.jpg"},
            {"to_name": "img"},
            "data name the pictures before, after, and regions",
        ),
        (
            {"images": ["a.jpg", "c.jpg"]},
            {"to_name": "img"},
            r"several images \(2\), and region .* \(road\): no item_index",
        ),
        ({"images": ["a.jpg", "c.jpg"]}, {"to_name": "img", "item_index": 2}, "its item_index is 2, but the images of"),
        ({"image": "a.jpg"}, {"item_index": -1}, "its item_index is -1"),
        ({"text": "hello", "more": "world"}, {"to_name": "img"}, "its data name no picture"),
    ],
)
def test_where_the_picture_cannot_be_told_the_task_is_refused(shop, boxes, regions, data, more, message):
    results = [{**one, **more} for one in regions]
    shop.prepare(shop.json("x.json", [task(1, data, *results), task(2, "b.jpg", *regions), task(3, "c.jpg", *regions)]))
    (problem,) = shop.problems.pop("masks that cannot be matched with an image")
    assert problem.startswith(f"{shop.root / 'x.json'}: task 1: ")
    assert re.search(message, problem)
    shop.same(boxes, "c", "day1/b")


def test_json_min_does_not_say_which_of_several_pictures_is_meant(shop, regions):
    value = {**regions[0]["value"], "original_width": 30, "original_height": 20}
    records = [
        {"before": "a.jpg", "after": "c.jpg", "id": 1, "tag": [value], "annotator": 1},
        {"images": ["a.jpg", "c.jpg"], "id": 2, "tag": [value], "annotator": 1},
        {"image": "b.jpg", "name": "photos/b.jpg", "id": 3, "tag": [value], "annotator": 1},
        {"image": "c.jpg", "id": 4, "tag": [value], "annotator": 1},
    ]
    shop.prepare(shop.json("x.json", records))
    problems = shop.problems["masks that cannot be matched with an image"]
    assert len(problems) == 2
    assert all("JSON-MIN does not say which one" in problem for problem in problems)


def test_why_tasks_have_no_annotation_is_told(shop, boxes, regions):
    tasks = [task(number, f"{name}.jpg", *regions) for number, name in enumerate(("a", "b", "c", "d", "e"), start=1)]
    tasks[2]["annotations"][0]["was_cancelled"] = True
    tasks[3] |= {"annotations": [], "predictions": [{"result": list(regions)}]}
    tasks[4] |= {"annotations": [], "drafts": [{"result": list(regions)}]}
    shop.prepare(shop.json("x.json", tasks))
    shop.same(boxes, "a", "day1/b")
    assert shop.told("3 of 5 tasks were not annotated (1 cancelled, 1 with a prediction alone, 1 with a draft alone)")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (polygon([(1, 1), (2, 2), (1, 3)], "road", "traffic light"), "has 2 labels, a pixel has one class"),
        (polygon([(1, 1), (2, 2), (1, 3)], "road", image_rotation=90), "the image was turned in Label Studio"),
        (polygon([(1, 1), (2, 2), (1, 3)], "road", original_width=31), "another original_width or original_height"),
        (
            polygon([(1, 1), (2, 1e300), (1, 3)], "road"),
            "which is far outside of any image|no finite|expected a number",
        ),
        (
            region("ellipselabels", {"radiusX": 1, "radiusY": 1, "ellipselabels": ["road"]}),
            "numbers in percent for x and y",
        ),
        (region("brushlabels", {"format": "rle", "rle": [0, 1], "brushlabels": ["road"]}), "it ends in its header"),
        (
            region(
                "vectorlabels",
                {
                    "vertices": [{"x": 1, "y": y, "isBezier": True} for y in (1, 2, 3)],
                    "closed": True,
                    "vectorlabels": ["road"],
                },
            ),
            "it has curves, which are not read",
        ),
    ],
)
def test_a_region_that_cannot_be_painted_costs_its_image_alone(shop, regions, wrong, message):
    tasks = [task(1, "a.jpg", *regions), task(2, "b.jpg", *regions), task(3, "c.jpg", *regions, wrong)]
    shop.prepare(shop.json("x.json", tasks))
    (problem,) = shop.problems["masks that cannot be converted"]
    assert re.search(message, problem)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"rectanglelabels": 1}, r"value.rectanglelabels: expected a list, got 1"),
        ({"points": [[1, 2, 3]], "polygonlabels": ["road"]}, r"value.points\[0\]"),
        ({"points": 5}, "value.points: expected a list, got 5"),
        ({"rle": [1, 256], "brushlabels": ["road"]}, r"value.rle\[1\]: expected less than or equal to 255, got 256"),
    ],
)
def test_what_label_studio_does_not_write_is_one_line(shop, value, message):
    with pytest.raises(InputError, match=message) as caught:
        shop.prepare(shop.json("x.json", [task(1, "a.jpg", region("x", value))]))
    assert "\n" not in str(caught.value)


def test_labels_may_be_numbers_and_tasks_may_have_texts_as_ids(shop, boxes):
    classes = (("background", (0, 0, 0)), ("1", (128, 64, 128)), ("2", (250, 170, 30)))
    results = [polygon(shop.road, 1), polygon(shop.light, "2")]
    tasks = [task(1, f"{name}.jpg", *results, id=f"task-{name}") for name in ("a", "b")]
    shop.prepare(shop.json("x.json", tasks), classes=classes)
    shop.same(boxes, "a", "day1/b")


@pytest.mark.parametrize("folder", ["../../upload/3/", "images/5ab1c2d3__", "/data/upload/3/", "s3://bucket/uploads/"])
def test_the_coco_export_names_images_by_their_uploads(shop, boxes, folder):
    names = "IMG (1)", "Über 2"
    for name in names:
        shop.image(name)
    content = shop.coco()
    for image, upload in zip(
        content["images"], ("e875f551-IMG_1.jpg", "e875f552-%C3%9Cber_2.jpg", "c.jpg"), strict=True
    ):
        image["file_name"] = folder + upload
    content["info"] = {"year": 2026, "version": "1.0", "contributor": "Label Studio"}
    shop.prepare(shop.json("export/result.json", content))
    shop.same(boxes, *names)


def test_the_yolo_export_names_labels_by_uploads(shop, boxes):
    for name in ("IMG (1)", "c"):
        path = shop.root.parent / f"export/labels/e875f551-{name.replace(' (1)', '_1')}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        shop.image(name)
        lines = (
            f"{number} " + " ".join(f"{x / 30:.6f} {y / 20:.6f}" for x, y in points)
            for number, points in enumerate((shop.road, shop.light))
        )
        path.write_text("\n".join(lines) + "\n")
    export = shop.root.parent / "export"
    (export / "images").mkdir()
    (export / "classes.txt").write_text("road\ntraffic light\n")
    (export / "notes.json").write_text(
        '{"categories": [{"id": 0, "name": "road"}], "info": {"contributor": "Label Studio"}}'
    )
    shop.prepare(export)
    shop.same(boxes, "IMG (1)", "c")
