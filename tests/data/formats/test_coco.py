import numpy as np
import pytest
from pycocotools import mask as coco_mask

from semivl_cli.data.formats.coco import paint_annotations
from semivl_cli.errors import InputError

# pycocotools 2.0.11 asks NumPy 2 for arrays in a way that NumPy deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SQUARE = [2, 2, 6, 2, 6, 6, 2, 6]


def annotation(segmentation, category=1, **more):
    return {"id": 7, "category_id": category, "segmentation": segmentation, **more}


def paint(*annotations, size=(8, 10), background=0):
    return paint_annotations(annotations, {1: 1, 2: 2, 90: 255}, size, background, "image 3")


def box(top, left, bottom, right, size=(8, 10)):
    inside = np.zeros(size, bool)
    inside[top:bottom, left:right] = True
    return inside


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ({"size": [4, 4], "counts": "44"}, "does not fill its 4 x 4 pixels"),
        ({"size": [4, 4], "counts": "PP10000"}, "does not fill"),
        ({"size": [4, 4], "counts": ""}, "not COCO's"),
        ({"size": [4, 4], "counts": "\x01\x7f"}, "not COCO's"),
        ({"size": [4, 4], "counts": "oooooooooo"}, "not COCO's"),
        ({"size": [4, 4], "counts": "oooooooo0"}, "not COCO's"),
        ({"size": [4, 4], "counts": [3, 50]}, "does not fill"),
        ({"size": [4, 4], "counts": [-3, 19]}, "does not fill"),
        ({"size": [4, 4], "counts": ["a"]}, "no whole numbers"),
        ({"size": [4, 4], "counts": None}, "no whole numbers"),
        ({"size": "4x4", "counts": [16]}, r"expected \[height, width\]"),
        ({"size": [9, 9], "counts": [81]}, "9 x 9 pixels .* the image is 10 x 8"),
    ],
)
def test_a_broken_run_length_code_names_its_annotation(code, message):
    with pytest.raises(InputError, match=f"annotation 7: .*{message}"):
        paint(annotation(code))


def test_several_polygons_of_an_annotation_are_one_region_and_a_bare_one_counts():
    apart = [[0, 0, 3, 0, 3, 3, 0, 3], [6, 4, 9, 4, 9, 8, 6, 8]]
    assert (paint(annotation(apart)).ids == (box(0, 0, 3, 3) | box(4, 6, 8, 9))).all()
    assert (paint(annotation(SQUARE)).ids == box(2, 2, 6, 6)).all()


def test_the_smaller_wins_and_the_larger_gives_way_in_whatever_order():
    table, cup = annotation([SQUARE], 1, area=16), annotation([[3, 3, 5, 3, 5, 5, 3, 5]], 2, area=4)
    expected = box(2, 2, 6, 6) + box(3, 3, 5, 5).astype(int)
    for order in ((table, cup), (cup, table)):
        canvas = paint(*order)
        assert (canvas.ids == expected).all()
        assert (canvas.contested, canvas.uncovered) == (4, 80 - 16)


def test_of_equal_ones_the_later_wins_and_one_class_is_no_contest():
    first, second = annotation([SQUARE], 1), annotation([SQUARE], 2)
    assert paint(first, second).ids[3, 3] == 2
    assert paint(second, first).ids[3, 3] == 1
    assert paint(first, first).contested == 0


def test_a_crowd_gives_way_to_every_single_object():
    crowd = annotation({"size": [8, 10], "counts": [8, 8, 64]}, 2, iscrowd=1, area=8)
    whole = annotation([[0, 0, 10, 0, 10, 8, 0, 8]], 1, area=80)
    assert (paint(whole, crowd).ids == 1).all()
    assert paint(crowd).ids.sum() == 2 * 8


def test_ignored_categories_background_and_bare_boxes():
    canvas = paint(annotation([SQUARE], 90), annotation([], 1), {"id": 8, "category_id": 5, "bbox": [0, 0, 2, 2]})
    assert (canvas.ids == np.where(box(2, 2, 6, 6), 255, 0)).all()
    assert (paint(background=255).ids == 255).all()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 1, 5, 1, 5, 5, 7]], "7 numbers: expected pairs"),
        ([[1, 1, 5, 1, 5, float("nan")]], "nan"),
        ([[1, 1, 5, 1, 5, 1e9]], "far outside"),
        ([[1, 1, 5, 1, 5, "x"]], "'x'"),
        ("rle", "neither a list of polygons nor a run-length code"),
    ],
)
def test_a_broken_polygon_names_its_annotation(segmentation, message):
    with pytest.raises(InputError, match=f"annotation 7: .*{message}"):
        paint(annotation(segmentation))


def test_an_unknown_category_names_those_that_exist():
    with pytest.raises(InputError, match="annotation 7 has the category 3, which is none of 1, 2, 90"):
        paint(annotation([SQUARE], 3))


def test_coco_polygons(shop, boxes):
    shop.prepare(shop.json("annotations.json", shop.coco()))
    shop.same(boxes, "a", "day1/b")
    assert shop.told("annotations.json: COCO JSON")
    assert shop.told("1 of 3 images have no annotation")
    assert shop.told("pixels are in no shape: they are 'background'")


def test_coco_codes_crowds_and_names_as_addresses(shop, boxes):
    shop.image("day 1/ä")
    code = coco_mask.encode(np.asfortranarray((boxes == 1).astype(np.uint8)))
    code["counts"] = code["counts"].decode()
    light = (boxes == 2).T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], light, [0]))))
    counts = np.diff(np.concatenate(([0], edges, [600]))).tolist()
    annotations = [
        {"id": 1, "image_id": "x", "category_id": 18, "segmentation": {"size": [20, 30], "counts": counts}},
        {"id": 2, "image_id": "x", "category_id": 3, "segmentation": code, "iscrowd": 1},
        {"id": 3, "image_id": 7, "category_id": 3, "segmentation": [shop.flat(shop.road)]},
    ]
    images = [{"id": "x", "file_name": "day%201/%C3%A4.jpg"}, {"id": 7, "file_name": "a.jpg"}]
    shop.prepare(shop.json("instances_train.json", shop.coco(images=images, annotations=annotations)))
    assert (shop.ids()["day 1/ä"] == boxes).all()


def test_annotations_of_images_that_a_coco_file_does_not_name_are_a_problem(shop, boxes):
    content = shop.coco()
    content["annotations"] += [{**content["annotations"][0], "id": 90 + more, "image_id": "7"} for more in range(2)]
    path = shop.json("instances.json", content)
    assert shop.prepare(path).problems == {
        "masks that cannot be matched with an image": [
            f"{path}: annotation 90 and 1 more: image_id '7' is none of 7, 8, 9"
        ]
    }
    assert (shop.ids()["a"] == boxes).all()
