import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
    assert shop.told("2 images are drawn in several places: all of it counts, later ones on top unless all are by size")
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


def test_of_images_of_one_name_the_one_in_the_folder_of_the_split_is_meant(shop, boxes):
    for split in ("train", "val"):
        shop.image(f"{split}/a")
    content = shop.coco(images=[{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}])
    for split in ("train", "val"):
        shop.json(f"export/annotations/instances_{split}.json", content)
    (shop.root / "images/a.jpg").unlink()
    shop.prepare(shop.root / "export")
    found = shop.ids()
    assert {"train/a", "val/a"} <= set(found)
    assert (found["train/a"] == boxes).all()


@pytest.mark.parametrize("layout", ["{}", "{}/images/default"])
@pytest.mark.parametrize("packed", [False, True])
def test_exports_with_images_of_the_same_names_keep_to_their_own(shop, boxes, layout, packed):
    shutil.rmtree(shop.root / "images")
    sources = []
    for name, ids in (("first", (7, 8)), ("second", (7,))):
        folder = shop.root.parent / name
        for number in ids:
            shop.image(f"{number}", folder=shop.root.parent / layout.format(name))
        images = [{"id": number, "file_name": f"{number}.jpg"} for number in (7, 8)]
        shop.json(folder / "annotations/result.json", shop.coco(images=images))
        sources.append(Path(shutil.make_archive(str(folder), "zip", folder)) if packed else folder)
    shop.prepare(*sources)
    below = layout.removeprefix("{}")
    masks = shop.root / "prepared/masks"
    found = {path.relative_to(masks).with_suffix("").as_posix(): path for path in masks.rglob("*.png")}
    assert set(found) == {f"first{below}/7", f"first{below}/8", f"second{below}/7"}
    assert all((np.array(Image.open(path)) == boxes).all() for path in found.values())
    assert ["no such image" in line for lines in shop.problems.values() for line in lines] == [True]


def test_folders_of_one_name_whose_images_are_called_alike_are_told_apart_by_those_above(shop, boxes):
    shutil.rmtree(shop.root / "images")
    for name in ("first", "second"):
        shop.image("7", folder=shop.root.parent / name / "JPEGImages")
        shop.mask("7.png", boxes.astype(np.uint8), shop.root.parent / name / "SegmentationClass")
    shop.prepare(shop.root.parent / "first", shop.root.parent / "second")
    shop.same(boxes, "first/JPEGImages/7", "second/JPEGImages/7")


def test_the_png_export_of_label_studio_is_told_by_its_names(shop):
    shop.mask("task-1-annotation-2-by-1-tag-road-0.png", np.full((20, 30), 255, np.uint8), "export")
    shop.json("x.json", shop.coco())
    shop.prepare(shop.root / "x.json", shop.root / "export")
    assert shop.told("Label Studio's export as PNG, which does not say which image", "export JSON from there")


def test_of_two_images_that_a_name_means_the_one_that_lies_right_there_counts():
    drawing = Drawing(image="a.jpg", origin="x", stamp="", paint=lambda key, size: None)
    names = ImageNames(["job/a", "job/sub/a", "other/b"])

    source = Annotations(kind="x", where="x", labels={}, drawings=lambda: [drawing])
    assert match_images([source], names, ["job"]).image_of == [["job/a"]]
    assert match_images([source], names).image_of == [[None]]


def test_an_image_of_a_kind_that_is_not_read_is_told_by_its_name(shop):
    content = shop.coco()
    content["images"][2]["file_name"] = "a.HEIC"
    content["annotations"][0]["image_id"] = 9
    shop.prepare(shop.json("x.json", content))
    (problem,) = shop.problems["masks that cannot be matched with an image"]
    assert problem.endswith("a.HEIC: no such image")


def test_a_name_that_no_file_can_have_is_an_image_that_is_not_there(shop):
    shop.prepare(of_one_class(shop, "road", shop.road, names=("a", "c", "x\0y")))
    (problem,) = shop.problems["masks that cannot be matched with an image"]
    assert problem.endswith("x\0y.jpg: no such image")


def test_a_name_of_two_lines_is_told_in_one(shop):
    shop.prepare(of_one_class(shop, "road", shop.road, names=("a", "c", "x\ny")))
    (problem,) = shop.problems["masks that cannot be matched with an image"]
    assert problem.endswith("x\\ny.jpg: no such image")
