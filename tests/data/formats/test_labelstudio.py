import numpy as np
import pytest

from semivl_cli.data.formats.labelstudio import clean_name


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
        "id": "Dx9",
        "type": kind,
        "from_name": "tag",
        "to_name": "image",
        "original_width": 30,
        "original_height": 20,
        "image_rotation": 0,
        "value": value,
        **more,
    }


def test_label_studio_json(shop, boxes, brush):
    strokes = [
        region("brushlabels", {"format": "rle", "rle": brush(boxes == 1), "brushlabels": ["road"]}),
        region("polygonlabels", {"points": percent(shop.light), "polygonlabels": ["traffic light"], "closed": True}),
        region("keypointlabels", {"x": 3, "y": 3, "width": 1, "keypointlabels": ["road"]}),
        {"id": "c1", "type": "choices", "value": {"choices": ["sunny"]}},
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


def test_label_studio_json_min(shop, boxes, brush):
    tasks = [
        {
            "image": f"/data/upload/1/0123abcd-{name}.jpg",
            "id": 4,
            "annotator": 1,
            "annotation_id": 2,
            "tag": [
                {
                    "format": "rle",
                    "rle": brush(boxes == 1),
                    "brushlabels": ["road"],
                    "original_width": 30,
                    "original_height": 20,
                },
                {
                    "points": percent(shop.light),
                    "polygonlabels": ["traffic light"],
                    "original_width": 30,
                    "original_height": 20,
                },
            ],
        }
        for name in ("a", "b")
    ]
    shop.prepare(shop.json("min.json", tasks))
    shop.same(boxes, "a", "day1/b")


def test_the_address_of_a_server_is_no_part_of_an_image_s_name():
    assert clean_name("https://x.org/opensource/label-studio/1%202.jpg?token=3") == "opensource/label-studio/1 2.jpg"
