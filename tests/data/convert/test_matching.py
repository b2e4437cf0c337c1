import numpy as np
import pytest

from semivl_cli.data.annotation.annotations import Annotations, Drawing
from semivl_cli.data.annotation.image_names import ImageNames
from semivl_cli.data.convert.matching import match_images
from semivl_cli.errors import InputError


def of_one_class(shop, label, ring, names=("a", "c")):
    """COCO as it is exported class by class."""
    return shop.json(f"{label}.json", {
        "images": [{"id": n, "file_name": f"{name}.jpg", "width": 30, "height": 20} for n, name in enumerate(names)],
        "categories": [{"id": 1, "name": label}],
        "annotations": [
            {"id": n + 1, "image_id": n, "category_id": 1, "segmentation": [shop.flat(ring)], "area": 9, "iscrowd": 0}
            for n in range(len(names))
        ],
    })  # fmt: skip


def test_files_of_one_class_each_count_together(shop, boxes):
    sources = of_one_class(shop, "road", shop.road), of_one_class(shop, "traffic light", shop.light)
    shop.prepare(*sources)
    shop.same(boxes, "a", "c")
    assert shop.told("2 images are drawn in several places: all of it counts, later ones on top")
    shop.prepare(*sources)
    assert shop.told("traffic light.json: COCO JSON: 0 masks written") or shop.told(
        "0 masks written, 2 are there already"
    )
    shop.prepare(sources[0])
    shop.same(boxes == 1, "a", "c")


def test_the_same_file_twice_is_once(shop, boxes):
    first = shop.json("first.json", shop.coco())
    shop.prepare(first, shop.json("second.json", shop.coco()))
    shop.same(boxes, "a", "day1/b")


def test_two_that_draw_a_class_otherwise_are_refused_by_name(shop, boxes):
    first = of_one_class(shop, "road", shop.road)
    second = shop.json(
        "other.json", {**shop.coco(), "categories": [{"id": 3, "name": "road"}, {"id": 18, "name": "road"}]}
    )
    shop.prepare(first, second)
    (problem,) = shop.problems["masks that cannot be converted"]
    assert f"{first}: image 0 and {second}: image 7 both draw 'road' on 'a', and not alike" in problem
    assert {path.stem for path in (shop.root / "prepared/masks").rglob("*.png")} == {"b", "c"}


def test_own_masks_prevail(shop, boxes):
    shop.mask("a.png", np.zeros((20, 30), np.uint8))
    shop.prepare(of_one_class(shop, "road", shop.road))
    found = shop.ids()
    assert found["a"].max() == 0
    assert found["c"].max() == 1
    assert shop.told("1 images are drawn twice: the first counts")


def test_names_without_image_are_told_whatever_ends_the_work(shop):
    lost = of_one_class(shop, "road", shop.road, names=("a", "x", "y"))
    with pytest.raises(InputError, match="only 'a' has a mask"):
        shop.prepare(lost)
    assert shop.told("masks that cannot be matched with an image: 2", "x.jpg: no such image")
    strange = of_one_class(shop, "lorry", shop.road, names=("a", "x"))
    other = of_one_class(shop, "lorries", shop.road)
    with pytest.raises(InputError, match="'lorry' is no class"):
        shop.prepare(strange, other)
    assert shop.told("masks that cannot be matched with an image: 1", "x.jpg: no such image")
    assert shop.told("'lorries' is no class")


def test_a_source_that_changes_while_it_is_read_ends_in_one_line():
    drawing = Drawing(image="a.jpg", origin="x", stamp="", paint=lambda key, size: None)
    given = iter([[drawing, drawing], [drawing]])
    source = Annotations(kind="x", where="x.json", labels={}, drawings=lambda: next(given))
    with pytest.raises(InputError, match=r"x\.json changed while it was read"):
        list(match_images([source], ImageNames(["a"])).drawings())


def test_a_name_that_no_file_can_have_is_an_image_that_is_not_there(shop):
    shop.prepare(of_one_class(shop, "road", shop.road, names=("a", "c", "x\0y")))
    (problem,) = shop.problems["masks that cannot be matched with an image"]
    assert problem.endswith("x\0y.jpg: no such image")
