import json
import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from semivl_cli.data.annotation.annotations import Key
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.coco import open_coco
from semivl_cli.errors import InputError

# pycocotools 2.0.11 asks NumPy 2 for arrays in a way that NumPy deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


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
    content["annotations"] += [{**content["annotations"][0], "id": 90 + more, "image_id": "70"} for more in range(2)]
    path = shop.json("instances.json", content)
    assert shop.prepare(path).problems == {
        "masks that cannot be matched with an image": [
            f"{path}: annotation 90 and 1 more: image_id 70 is none of 7, 8, 9"
        ]
    }
    assert (shop.ids()["a"] == boxes).all()


TABLE, CUP = [0, 0, 28, 0, 28, 18, 0, 18], [4, 4, 12, 4, 12, 12, 4, 12]


def solid(ring):
    left, top, right, bottom = ring[0], ring[1], ring[4], ring[5]
    inside = np.zeros((20, 30), bool)
    inside[top:bottom, left:right] = True
    return inside


def counted(ring):
    """COCO's runs as numbers, as CVAT and supervision write masks."""
    flat = solid(ring).T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flat, [1 - flat[-1]]))))
    return {"size": [20, 30], "counts": np.diff(np.concatenate(([0], edges))).tolist()}


def one_image(*annotations, **more):
    """The road is a table, the traffic light a cup."""
    return {
        "images": [{"id": 1, "width": 30, "height": 20, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "road"}, {"id": 2, "name": "traffic light"}],
        "annotations": [{"id": number, "image_id": 1, **one} for number, one in enumerate(annotations, 1)],
        **more,
    }


@pytest.fixture
def opened(tmp_path):
    """Opens content as a file."""

    def open_content(content):
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(content))
        return open_coco(Tree(path))

    return open_content


def canvas_of(source):
    """Paint its only drawing."""
    assert set(source.labels) <= {"road", "traffic light"}
    assert not source.strays
    [drawing] = source.drawings()
    key = Key(class_of={"road": 1, "traffic light": 2}, background=0, class_ids=np.asarray, names=["ground"])
    return drawing.paint(key, drawing.size or (20, 30))


def painted(source):
    return canvas_of(source).ids


CUP_ON_TABLE = np.where(solid(CUP), 2, solid(TABLE))


def test_the_smaller_lies_on_top_whatever_areas_and_crowds_the_file_claims(opened):
    """Supervision writes masks of several parts as crowds, Roboflow the area of the box."""
    table = {"category_id": 1, "segmentation": [TABLE], "area": 1, "bbox": [0, 0, 1, 1], "iscrowd": 0}
    cup = {"category_id": 2, "segmentation": counted(CUP), "area": 9999, "bbox": [0, 0, 28, 18], "iscrowd": 1}
    for content in (one_image(table, cup), one_image(cup, table)):
        source = opened(content)
        assert (painted(source) == CUP_ON_TABLE).all()
        assert source.on_top == "the smaller one lies on top"


def cvat(*annotations):
    """As CVAT writes it by way of Datumaro: brush strokes are crowds, what lies on top comes last."""
    images = [
        {"id": 1, "width": 30, "height": 20, "file_name": "a.jpg", "license": 0, "flickr_url": "", "coco_url": "",
         "date_captured": 0}
    ]  # fmt: skip
    return one_image(
        *({**one, "attributes": {"occluded": False}} for one in annotations),
        images=images,
        licenses=[{"name": "", "id": 0, "url": ""}],
        info={"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
    )


def test_cvat_lists_what_lies_on_top_last_brush_strokes_included(opened):
    table = {"category_id": 1, "segmentation": [TABLE], "area": 504.0, "bbox": [0.0, 0.0, 28.0, 18.0], "iscrowd": 0}
    brush = {"category_id": 2, "segmentation": counted(CUP), "area": 64.0, "bbox": [4.0, 4.0, 8.0, 8.0], "iscrowd": 1}
    assert (painted(opened(cvat(table, brush))) == CUP_ON_TABLE).all()
    assert (painted(opened(cvat(brush, table))) == solid(TABLE)).all()
    assert opened(cvat(brush, table)).on_top == "what the file lists later lies on top, as in CVAT"


@pytest.mark.parametrize(
    "info",
    [
        {"year": 2024, "version": "1.0", "description": "", "contributor": "Label Studio", "url": ""},
        {
            "version": "1.0",
            "description": "VIA project exported to COCO format using VGG Image Annotator (http://www.robots.ox.ac.uk)",
        },
    ],
)
def test_label_studio_and_via_list_what_lies_on_top_last(opened, info):
    cup, table = ({"category_id": number, "segmentation": [ring]} for number, ring in ((2, CUP), (1, TABLE)))
    assert (painted(opened(one_image(cup, table, info=info))) == solid(TABLE)).all()


@pytest.mark.parametrize(
    "segmentation",
    [
        [CUP],
        CUP,
        [[4, 4], [12, 4], [12, 12], [4, 12]],
        [[[4, 4], [12, 4], [12, 12], [4, 12]]],
        [CUP, [20, 1, 22, 1], []],
        counted(CUP),
    ],
)
def test_whatever_form_tools_write_polygons_in(opened, segmentation):
    found = painted(opened(one_image({"category_id": 2, "segmentation": segmentation})))
    assert (found == 2 * solid(CUP)).all()


def test_polygons_of_fewer_than_three_points_are_told(opened):
    cup = {"category_id": 2, "segmentation": [CUP, [20, 1, 22, 1], [3, 3]]}
    source = opened(one_image({"category_id": 1, "segmentation": [TABLE]}, cup))
    assert (painted(source) == CUP_ON_TABLE).all()
    [note] = source.notes
    assert note.startswith("polygons of fewer than three points: 2, for example in annotation 2 of image 1;")


def test_a_category_of_boxes_alone_needs_no_class_and_paints_nothing(opened):
    categories = [{"id": 1, "name": "road"}, {"id": 2, "name": "traffic light"}, {"id": 5, "name": "scale bar"}]
    cup = {"category_id": 2, "segmentation": [CUP]}
    empty = [
        {"category_id": 5, "bbox": [1, 1, 2, 2], **more} for more in ({"segmentation": []}, {}, {"keypoints": [1]})
    ]
    source = opened(one_image(cup, *empty, {"category_id": 5, "segmentation": [[]]}, categories=categories))
    assert (painted(source) == 2 * solid(CUP)).all()
    assert source.labels == {"traffic light": None}
    assert any(note.startswith("annotations without a segmentation, such as boxes: 3") for note in source.notes)


def test_what_is_drawn_on_an_image_is_counted_whether_it_can_be_painted_or_not(opened):
    box = {"category_id": 1, "segmentation": [], "bbox": [1, 1, 2, 2]}
    [drawing] = opened(one_image(box, box)).drawings()
    assert drawing.marks == 2


def test_ids_are_numbers_or_text_and_may_be_mixed(opened):
    content = one_image({"category_id": "1", "segmentation": [TABLE]}, {"category_id": "light", "segmentation": [CUP]})
    content["categories"] = [{"id": 1, "name": "road"}, {"id": "light", "name": "traffic light"}]
    content["images"][0]["id"] = "1"
    assert (painted(opened(content)) == CUP_ON_TABLE).all()


def test_categories_of_one_name_are_one_label(opened):
    """Roboflow writes the project as the first category, which may be called like a class."""
    categories = [
        {"id": 0, "name": "road", "supercategory": "none"},
        {"id": 1, "name": "road", "supercategory": "road"},
    ]
    content = one_image({"category_id": 1, "segmentation": [TABLE]}, categories=categories)
    assert (painted(opened(content)) == solid(TABLE)).all()


@pytest.mark.parametrize(
    ("part", "entry", "message"),
    [
        ("categories", {"id": "2", "name": "cup"}, "two of its categories, 'traffic light' and 'cup', have the id 2"),
        ("images", {"id": 1, "file_name": "c.jpg"}, "two of its images, 'a.jpg' and 'c.jpg', have the id 1"),
        ("images", {"id": 3}, "images: the one of id 3 has no name"),
        ("images", {"file_name": "c.jpg"}, r"images\[1\]: expected an entry with id"),
        (
            "categories",
            {"id": True, "name": "cup"},
            r"categories\[2\].id: expected .* got True",
        ),
        ("annotations", {"image_id": 1, "category_id": 8}, r"annotation \(without id\) has the category 8, .* 1, 2"),
        ("annotations", {"id": 4, "image_id": 1}, r"annotations\[1\]: expected an entry with category_id"),
        ("annotations", {"segmentation": [[1, 1, 5, 1, 5, "x"]]}, r"segmentation\.polygons\[0\]\[5\]: .* got 'x'"),
        ("annotations", {"segmentation": [[1, 1, 5, 1, 5, True]]}, r"polygons\[0\]\[5\]: expected a number, got True"),
        ("annotations", {"segmentation": "rle"}, "expected a list, got 'rle'"),
        ("annotations", {"segmentation": {"size": [20, 30]}}, "segmentation.code: expected an entry with counts"),
        ("annotations", {"segmentation": {"size": [20, 30], "counts": [1.5]}}, r"counts\[0\]: expected a whole number"),
    ],
)
def test_what_a_file_lacks_is_told_with_its_place(opened, part, entry, message):
    content = one_image({"category_id": 1, "segmentation": [TABLE]})
    if part == "annotations" and "category_id" not in entry and "id" not in entry:
        entry = {"image_id": 1, "category_id": 1, **entry}
    content[part].append(entry)
    with pytest.raises(InputError, match=message):
        opened(content)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 1, 5, 1, 5, 5, 7]], "7 numbers: expected pairs"),
        ([[1, 1, 5, 1, 5, 1e9]], "far outside"),
        ({"size": [9, 9], "counts": [81]}, "9 x 9 pixels .* the image is 30 x 20"),
        ({"size": [10**9, 10**9], "counts": [10**18]}, "the image is 30 x 20"),
        ({"size": [20, 30], "counts": [3, 50]}, "does not fill"),
    ],
)
def test_a_drawing_that_does_not_fit_is_a_problem_of_its_image_alone(shop, segmentation, message):
    content = shop.coco()
    content["annotations"].append({**content["annotations"][0], "image_id": 9})
    content["annotations"][0] |= {"id": 77, "segmentation": segmentation}
    [(_, [problem])] = shop.prepare(shop.json("instances.json", content)).problems.items()
    assert re.search(f"image 7: annotation 77: .*{message}", problem)
    masks = shop.root / "prepared/masks"
    assert {path.name for path in masks.rglob("*.png")} == {"b.png", "c.png"}


@pytest.mark.parametrize("part", ["images", "annotations", "categories"])
def test_a_file_of_two_parts_says_which_is_lacking(shop, part):
    content = one_image({"category_id": 1, "segmentation": [TABLE]})
    del content[part]
    with pytest.raises(InputError, match=f"the top: expected an entry with {part}"):
        shop.prepare(shop.json("image_info_test.json", content))


def test_captions_beside_annotations_of_objects_are_passed_over(shop, boxes):
    shop.json("annotations/captions_val.json", {"images": [], "annotations": [{"image_id": 7, "caption": "A road."}]})
    shop.json("annotations/instances_val.json", shop.coco())
    shop.prepare(shop.root / "annotations")
    shop.same(boxes, "a", "day1/b")
    assert shop.told("captions_val.json", "of no format that is read")


def test_images_without_a_name_have_an_address(shop):
    """LVIS, whose files tell neither `file_name` nor `iscrowd`."""
    content = shop.coco()
    for image, name in zip(content["images"], "acb", strict=True):
        del image["file_name"]
        image["coco_url"] = f"http://images.cocodataset.org/train2017/{name}.jpg"
    for annotation in content["annotations"]:
        del annotation["iscrowd"]
    shop.prepare(shop.json("lvis_v1_train.json", content))
    assert set(shop.ids()) == {"a", "c"}


def test_sizes_may_be_fractions_or_unknown(opened):
    for size in ({"width": 30.0, "height": 20.0}, {"width": 0, "height": 0}, {"width": None}):
        image = {"id": 1, "file_name": "a.jpg", **size}
        content = one_image({"category_id": 1, "segmentation": [TABLE]}, images=[image])
        assert (painted(opened(content)) == solid(TABLE)).all()


def test_roboflow_lays_a_file_beside_the_images_of_each_split(tmp_path, shop):
    export = shop.root.parent / "fruit.v1i.coco-segmentation"
    name = "IMG_1_jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9.jpg"
    for folder in ("train", "valid", "test"):
        (export / folder).mkdir(parents=True)
        (export / folder / name).write_bytes((shop.root / "images/a.jpg").read_bytes())
        content = one_image({"category_id": 2, "segmentation": [CUP], "area": 64, "iscrowd": 0})
        content["images"][0] |= {"file_name": name, "license": 1, "extra": {"name": "IMG_1.jpg"}}
        (export / folder / "_annotations.coco.json").write_text(json.dumps(content))
    (export / "README.roboflow.txt").write_text("fruit - v1\n")
    drawings = {
        (drawing.image.removeprefix(f"{export}/"), drawing.split)
        for folder in ("train", "valid", "test")
        for drawing in open_coco(Tree(export / folder / "_annotations.coco.json")).drawings()
    }
    assert drawings == {(f"train/{name}", "train"), (f"valid/{name}", "val"), (f"test/{name}", "test")}
    shop.root = tmp_path / "empty"
    shop.prepare(export)
    assert shop.problems == {}


def test_files_of_one_class_each_lie_on_each_other_by_size_whichever_comes_first(opened):
    table, cup = (
        opened(one_image({"category_id": number, "segmentation": [ring]})) for number, ring in ((1, TABLE), (2, CUP))
    )
    for first, second in ((table, cup), (cup, table)):
        canvas = canvas_of(first)
        canvas.lay(canvas_of(second))
        assert (canvas.ids == CUP_ON_TABLE).all()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([4, 4, 12, 4, 12, 12]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "name", "size", "counts", "file_name"]), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = [
    ("images", field) for field in ("id", "file_name", "coco_url", "height", "width")
] + [("annotations", field) for field in ("id", "image_id", "category_id", "segmentation", "attributes")] + [
    ("categories", "id"), ("categories", "name")
]  # fmt: skip


@given(st.sampled_from(FIELDS), JSON)
def test_whatever_stands_in_a_field_is_a_drawing_or_one_line(tmp_path_factory, place, value):
    part, field = place
    content = one_image({"category_id": 1, "segmentation": [TABLE]})
    content[part][0][field] = value
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    try:
        source = open_coco(Tree(path))
        key = Key(class_of=dict.fromkeys(source.labels, 1), background=0, class_ids=np.asarray, names=["a", "b"])
        for drawing in source.drawings():
            assert drawing.paint(key, (20, 30)).ids.shape == (20, 30)
    except InputError as error:
        assert "\n" not in str(error)


def test_a_file_given_alone_takes_the_images_beside_it_along(shop, boxes):
    shutil.move(shop.root / "images", shop.root.parent / "export")
    (shop.root.parent / "export/photos").mkdir()
    shutil.move(shop.root.parent / "export/day1", shop.root.parent / "export/photos/day1")
    path = shop.json("../export/result.json", shop.coco())
    shop.prepare(path)
    shop.same(boxes, "export/a", "export/photos/day1/b")


def test_ids_may_be_whole_numbers_with_a_point(shop, boxes):
    content = shop.coco()
    for annotation in content["annotations"]:
        annotation["image_id"] = float(annotation["image_id"])
        annotation["category_id"] = float(annotation["category_id"])
    shop.prepare(shop.json("pandas.json", content))
    shop.same(boxes, "a", "day1/b")
