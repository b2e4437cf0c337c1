import base64

import numpy as np


def test_labelme_shapes_beside_images_of_another_machine(shop, boxes):
    def shape(label, kind, points, **more):
        return {"label": label, "shape_type": kind, "points": points, "group_id": None, "flags": {}, **more}

    whole = {"version": "5.5.0", "flags": {}, "imageData": None, "imageHeight": 20, "imageWidth": 30}
    light = base64.b64encode(shop.png(np.full((4, 4), True))).decode()
    shapes = [
        shape("road", "polygon", shop.road),
        shape("traffic light", "mask", [[2, 0], [5, 3]], mask=light),
        shape("road", "linestrip", [[0, 0], [9, 9]]),
    ]
    shop.json("json/a.json", {**whole, "imagePath": "..\\images\\a.jpg", "shapes": shapes})
    shapes = [
        shape("road", "rectangle", [shop.road[2], shop.road[0]]),
        shape("traffic light", "rectangle", [shop.light[0], shop.light[2]]),
    ]
    shop.json("json/day1/b.json", {**whole, "imagePath": "C:\\photos\\b.jpg", "shapes": shapes})
    shop.prepare(shop.root / "json")
    shop.same(boxes, "a", "day1/b")
    assert shop.told("1 points and lines have no area")


def test_a_circle_of_labelme_is_round(shop):
    circle = {"label": "road", "shape_type": "circle", "points": [[15, 10], [20, 10]]}
    for name in ("a", "c"):
        shop.json(f"json/{name}.json", {"imagePath": f"{name}.jpg", "shapes": [circle]})
    shop.prepare(shop.root / "json")
    y, x = np.mgrid[:20, :30] + 0.5
    assert np.count_nonzero(shop.ids()["a"] != ((x - 15) ** 2 + (y - 10) ** 2 < 25)) <= 8
