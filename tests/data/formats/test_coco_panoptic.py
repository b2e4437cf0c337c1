import json
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.coco_panoptic import open_panoptic
from semivl_cli.errors import InputError


@pytest.fixture
def panoptic(tmp_path, boxes):
    """`annotations/panoptic_val2017.json` and its pictures, as COCO publishes them: black is nothing."""
    folder = tmp_path / "annotations"
    (folder / "panoptic_val2017").mkdir(parents=True)
    ids = np.array((0, 3226956, 7))[boxes]
    colors = np.stack((ids % 256, ids // 256 % 256, ids // 65536), axis=2).astype(np.uint8)
    segments = [
        {"id": 3226956, "category_id": 21, "area": 100, "bbox": [10, 5, 10, 10], "iscrowd": 0},
        {"id": 7, "category_id": "10", "area": 16, "bbox": [2, 0, 4, 4], "iscrowd": 1},
    ]
    annotations = []
    for number, name in enumerate(("a", "c")):
        Image.fromarray(colors).save(folder / "panoptic_val2017" / f"{name}.png")
        annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": segments})
    content = {
        "info": {"description": "COCO 2018 Panoptic Dataset"},
        "images": [{"id": n, "file_name": f"{name}.jpg", "width": 30, "height": 20} for n, name in enumerate("ac")],
        "annotations": annotations,
        "categories": [
            {"supercategory": "floor", "isthing": 0, "id": 21, "name": "road"},
            {"supercategory": "outdoor", "isthing": 1, "id": 10, "name": "traffic light"},
            {"supercategory": "outdoor", "isthing": 1, "id": 11, "name": "fire hydrant"},
        ],
    }
    return folder / "panoptic_val2017.json", content


@pytest.mark.parametrize("pictures", ["annotations/panoptic_val2017", "annotations", "panoptic_val2017"])
@pytest.mark.parametrize("packed", [False, True])
def test_pictures_of_segments_are_read_by_the_categories_of_their_colours(
    tmp_path, shop, boxes, panoptic, packed, pictures
):
    path, content = panoptic
    path.write_text(json.dumps(content))
    (tmp_path / pictures).mkdir(exist_ok=True)
    for name in ("a.png", "c.png"):
        (path.parent / "panoptic_val2017" / name).rename(tmp_path / pictures / name)
    given = path
    if packed:
        given = tmp_path / "panoptic.zip"
        with zipfile.ZipFile(given, "w") as archive:
            archive.write(path, "annotations/panoptic_val2017.json")
            for name in ("a.png", "c.png"):
                archive.write(tmp_path / pictures / name, f"{pictures}/{name}")
    shop.prepare(given)
    shop.same(boxes, "a", "c")
    assert shop.told("panoptic_val2017.json: COCO panoptic JSON")


def test_a_missing_picture_is_named(shop, panoptic):
    path, content = panoptic
    path.write_text(json.dumps(content))
    (path.parent / "panoptic_val2017" / "a.png").unlink()
    shop.image("b")
    [(_, [problem])] = shop.prepare(path).problems.items()
    assert "a.png: a panoptic file needs its pictures" in problem


def test_what_does_not_fit_together_is_named(shop, panoptic):
    path, content = panoptic
    first = content["annotations"][0]
    for changed, message in (
        ({"segments_info": [{"id": 7, "category_id": 21}]}, r"segments that .* does not tell: 3226956"),
        ({"file_name": "grey.png"}, "expected a picture of colours"),
        ({"file_name": "small.png"}, "small.png"),
    ):
        content["annotations"][0] = {**first, **changed}
        path.write_text(json.dumps(content))
        Image.new("L", (30, 20)).save(path.parent / "grey.png")
        Image.new("RGB", (3, 2)).save(path.parent / "small.png")
        [(_, [problem])] = shop.prepare(path).problems.items()
        assert re.search(message, problem)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"segments_info": [{"id": 7, "category_id": 99}]},
            "segment 7 has the category 99, .* 21, 10, 11",
        ),
        (
            {"segments_info": [{"id": 7, "category_id": 21}, {"id": 7, "category_id": 10}]},
            "two of its segments have the id 7",
        ),
        ({"segments_info": [{"id": "x", "category_id": 21}]}, r"segments_info\[0\].id: expected a whole number"),
        ({"file_name": 7}, r"annotations\[0\].file_name"),
    ],
)
def test_what_segments_lack_is_told(panoptic, changed, message):
    path, content = panoptic
    content["annotations"][0] |= changed
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        open_panoptic(Tree(path))
