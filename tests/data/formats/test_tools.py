"""Each format in the form that its tool writes becomes the class map that was drawn."""

import base64
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pycocotools import mask as coco_mask
from semivl_plugins.folder import Folder

from semivl_cli.data.drawing.brush import decode_brush
from semivl_cli.data.formats.coco import is_coco
from semivl_cli.data.formats.labelme import is_labelme
from semivl_cli.data.formats.labelstudio import clean_name, is_labelstudio
from semivl_cli.errors import InputError

ROAD = [[10, 5], [20, 5], [20, 15], [10, 15]]
LIGHT = [[2, 0], [6, 0], [6, 4], [2, 4]]


def flat(points):
    return [number for point in points for number in point]


def percent(points):
    return [[x / 30 * 100, y / 20 * 100] for x, y in points]


def png(pixels, **how):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", **how)
    return data.getvalue()


def colored(boxes):
    return np.array([(0, 0, 0), (128, 64, 128), (250, 170, 30)], np.uint8)[boxes]


def same(shop, boxes, *names):
    found = shop.ids()
    assert set(found) == set(names), shop.lines
    for name in names:
        assert (found[name] == boxes).all(), name
    assert shop.problems == {}


def coco(**more):
    return {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 30, "height": 20},
            {"id": 8, "file_name": "photos/day1/b.jpg", "width": 30, "height": 20},
            {"id": 9, "file_name": "c.jpg", "width": 30, "height": 20},
        ],
        "categories": [
            {"id": 3, "name": "Road"},
            {"id": 18, "name": "traffic_light"},
            {"id": 90, "name": "never used"},
        ],
        "annotations": [
            {"id": 1, "image_id": image, "category_id": number, "segmentation": segmentation, "iscrowd": 0, "area": 5}
            for image in (7, 8)
            for number, segmentation in ((3, [flat(ROAD)]), (18, [flat(LIGHT)]))
        ],
        **more,
    }


def test_coco_polygons(shop, boxes):
    shop.prepare(shop.json("annotations.json", coco()))
    same(shop, boxes, "a", "day1/b")
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
        {"id": 3, "image_id": 7, "category_id": 3, "segmentation": [flat(ROAD)]},
    ]
    images = [{"id": "x", "file_name": "day%201/%C3%A4.jpg"}, {"id": 7, "file_name": "a.jpg"}]
    shop.prepare(shop.json("instances_train.json", coco(images=images, annotations=annotations)))
    assert (shop.ids()["day 1/ä"] == boxes).all()


def test_labelme_shapes_beside_images_of_another_machine(shop, boxes):
    def shape(label, kind, points, **more):
        return {"label": label, "shape_type": kind, "points": points, "group_id": None, "flags": {}, **more}

    whole = {"version": "5.5.0", "flags": {}, "imageData": None, "imageHeight": 20, "imageWidth": 30}
    light = base64.b64encode(png(np.full((4, 4), True))).decode()
    shapes = [
        shape("road", "polygon", ROAD),
        shape("traffic light", "mask", [[2, 0], [5, 3]], mask=light),
        shape("road", "linestrip", [[0, 0], [9, 9]]),
    ]
    shop.json("json/a.json", {**whole, "imagePath": "..\\images\\a.jpg", "shapes": shapes})
    shapes = [shape("road", "rectangle", [ROAD[2], ROAD[0]]), shape("traffic light", "rectangle", [LIGHT[0], LIGHT[2]])]
    shop.json("json/day1/b.json", {**whole, "imagePath": "C:\\photos\\b.jpg", "shapes": shapes})
    shop.prepare(shop.root / "json")
    same(shop, boxes, "a", "day1/b")
    assert shop.told("1 points and lines have no area")


def test_a_circle_of_labelme_is_round(shop):
    circle = {"label": "road", "shape_type": "circle", "points": [[15, 10], [20, 10]]}
    for name in ("a", "c"):
        shop.json(f"json/{name}.json", {"imagePath": f"{name}.jpg", "shapes": [circle]})
    shop.prepare(shop.root / "json")
    y, x = np.mgrid[:20, :30] + 0.5
    assert np.count_nonzero(shop.ids()["a"] != ((x - 15) ** 2 + (y - 10) ** 2 < 25)) <= 8


def encode_brush(numbers, widths):
    """Write the code of Label Studio as its format is told: repeats of three and more as such, others as they are."""
    bits = [f"{len(numbers):032b}", f"{7:05b}", *(f"{width - 1:04b}" for width in widths)]
    place = 0

    def block(flag, count, payload):
        kind = next(kind for kind, width in enumerate(widths) if count - 1 < 1 << width)
        bits.append(f"{flag}{kind:02b}{count - 1:0{widths[kind]}b}{payload}")

    most = 1 << max(widths)
    while place < len(numbers):
        end = place
        while end < len(numbers) and numbers[end] == numbers[place] and end - place < most:
            end += 1
        if end - place > 2:
            block(1, end - place, f"{numbers[place]:08b}")
        else:
            end = min(place + 2, len(numbers), place + most)
            block(0, end - place, "".join(f"{number:08b}" for number in numbers[place:end]))
        place = end
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


@given(
    arrays.arrays(np.uint8, st.integers(1, 300), elements=st.sampled_from([0, 0, 255, 7])),
    st.lists(st.integers(1, 16), min_size=4, max_size=4).map(sorted),
)
def test_brush_strokes_are_unpacked_as_they_were_packed(numbers, widths):
    packed = encode_brush(numbers.tolist(), widths)
    assert (decode_brush(packed, len(numbers)) == numbers).all()
    for broken in (packed[:-2], packed[:5], [*packed[:9], 300]):
        with pytest.raises(InputError, match="brush strokes"):
            decode_brush(broken, len(numbers))
    with pytest.raises(InputError, match="brush strokes"):
        decode_brush(packed, len(numbers) + 4)


@given(st.lists(st.integers(0, 255), max_size=60))
def test_any_bytes_are_strokes_or_one_line(packed):
    try:
        assert len(decode_brush(packed, 40)) == 40
    except InputError as error:
        assert "\n" not in str(error)


def brush(inside):
    rgba = np.zeros((*inside.shape, 4), np.uint8)
    rgba[inside] = (200, 30, 9, 255)
    return encode_brush(rgba.ravel().tolist(), [3, 4, 8, 16])


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


def test_label_studio_json(shop, boxes):
    strokes = [
        region("brushlabels", {"format": "rle", "rle": brush(boxes == 1), "brushlabels": ["road"]}),
        region("polygonlabels", {"points": percent(LIGHT), "polygonlabels": ["traffic light"], "closed": True}),
        region("keypointlabels", {"x": 3, "y": 3, "width": 1, "keypointlabels": ["road"]}),
        {"id": "c1", "type": "choices", "value": {"choices": ["sunny"]}},
    ]
    rectangles = [
        region(
            "rectanglelabels",
            {"x": 100 / 3, "y": 25, "width": 100 / 3, "height": 50, "rotation": 0, "rectanglelabels": ["road"]},
        ),
        region("polygonlabels", {"points": percent(LIGHT), "polygonlabels": ["traffic light"]}),
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
    same(shop, boxes, "a", "day1/b")
    assert shop.told("1 of 3 tasks were not annotated")
    assert shop.told("1 tasks were annotated more than once")


def test_label_studio_json_min(shop, boxes):
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
                    "points": percent(LIGHT),
                    "polygonlabels": ["traffic light"],
                    "original_width": 30,
                    "original_height": 20,
                },
            ],
        }
        for name in ("a", "b")
    ]
    shop.prepare(shop.json("min.json", tasks))
    same(shop, boxes, "a", "day1/b")


def cvat(path, masks, labels="background:0,0,0::\nroad:128,64,128::\ntraffic light:250,170,30::\n"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labelmap.txt", "# label:color_rgb:parts:actions\n" + labels)
        archive.writestr("ImageSets/Segmentation/default.txt", "a\nday1/b\n")
        for name, content in masks.items():
            archive.writestr(f"SegmentationClass/{name}.png", content)
            archive.writestr(f"SegmentationObject/{name}.png", content)
    return path


def test_cvat_archive(shop, boxes):
    palette = Image.fromarray(2 - boxes)  # places in the palette are not places in the label map
    palette.putpalette(bytes((250, 170, 30, 128, 64, 128, 0, 0, 0)))
    data = io.BytesIO()
    palette.save(data, "PNG")
    shop.prepare(cvat(shop.root / "task.zip", {"a": png(colored(boxes)), "day1/b": data.getvalue()}))
    same(shop, boxes, "a", "day1/b")
    assert shop.told("task.zip: masks in the layout of CVAT")


def test_cvat_background_that_is_no_class_is_ignored_unless_dataset_toml_says(shop, boxes):
    classes = (("road", (1, 1, 1)), ("traffic light", (2, 2, 2)))
    archive = cvat(shop.root / "task.zip", {"a": png(colored(boxes)), "c": png(colored(boxes))})
    shop.prepare(archive, classes=classes)
    assert (np.array(Image.open(shop.root / "prepared/masks/a.png")) == np.array([255, 0, 1])[boxes]).all()
    (shop.root / "dataset.toml").write_text("background = 1\n")
    shop.prepare(archive, classes=classes)
    assert (np.array(Image.open(shop.root / "prepared/masks/a.png")) == np.array([1, 0, 1])[boxes]).all()


def test_pascal_voc_export_with_a_palette_and_without_a_label_map(shop, boxes):
    for name in ("a", "day1/b"):
        path = shop.root / "voc/SegmentationClass" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(boxes)
        picture.putpalette(bytes(range(9)))
        picture.save(path)
    shop.prepare(shop.root / "voc")
    same(shop, boxes, "a", "day1/b")


def test_labelme_s_own_voc_export_counts_from_ignore(shop, boxes):
    (shop.root / "voc/SegmentationClassPNG").mkdir(parents=True)
    (shop.root / "voc/class_names.txt").write_text("__ignore__\n_background_\ntraffic light\nroad\n")
    for name in ("a", "c"):
        Image.fromarray(np.array([0, 2, 1], np.uint8)[boxes]).save(shop.root / f"voc/SegmentationClassPNG/{name}.png")
    shop.prepare(shop.root / "voc")
    same(shop, boxes, "a", "c")


@pytest.mark.parametrize("layout", ["images/train", "train/images"])
def test_yolo_polygons(tmp_path, shop, boxes, layout):
    root = shop.root.parent / "yolo"
    labels = root / layout.replace("images", "labels")
    labels.mkdir(parents=True)
    (root / layout).mkdir(parents=True)
    lines = [
        f"{number} " + " ".join(f"{x / 30:.6f} {y / 20:.6f}" for x, y in points)
        for number, points in ((1, ROAD), (0, LIGHT))
    ]
    for name in ("a", "c"):
        (root / layout / f"{name}.jpg").write_bytes((shop.root / "images" / f"{name}.jpg").read_bytes())
        (labels / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (root / layout / "unlabelled.jpg").write_bytes((shop.root / "images/day1/b.jpg").read_bytes())
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nnames: [traffic light, road]\n")
    shop.prepare(root)  # beside the images of the root
    same(shop, boxes, "a", "c")
    shop.root = tmp_path / "empty"  # in place, where the root has none
    shop.prepare(root)
    same(shop, boxes, f"yolo/{layout}/a", f"yolo/{layout}/c")


def test_masks_are_made_again_when_numbers_or_colors_are_called_otherwise(shop, boxes):
    labels = shop.root.parent / "yolo"
    (labels / "labels").mkdir(parents=True)
    for name in ("a", "c"):
        (labels / f"labels/{name}.txt").write_text("0 " + " ".join(f"{x / 30:.6f} {y / 20:.6f}" for x, y in ROAD))
    for names, expected in (("[road, traffic light]", 1), ("[traffic light, road]", 2)):
        (labels / "data.yaml").write_text(f"names: {names}\n")
        assert shop.prepare(labels).ids()["a"].max() == expected

    masks = shop.root.parent / "voc"
    for name in ("a", "c"):
        shop.mask(f"{name}.png", colored(boxes), folder="../voc/SegmentationClass")
    for road, light in (("128,64,128", "250,170,30"), ("250,170,30", "128,64,128")):
        (masks / "labelmap.txt").write_text(f"background:0,0,0::\nroad:{road}::\ntraffic light:{light}::\n")
        assert (shop.prepare(masks).ids()["a"] == (boxes if road[0] == "1" else np.array([0, 2, 1])[boxes])).all()
    (masks / "labelmap.txt").write_text("background:0,0,0::\nroad:128,64,128::\n")
    problem = shop.prepare(masks).problems["masks that cannot be converted"][0]
    assert "the colour #faaa1e (16 pixels) is no class" in problem


def test_annotations_of_images_that_a_coco_file_does_not_name_are_a_problem(shop, boxes):
    content = coco()
    content["annotations"] += [{**content["annotations"][0], "id": 90 + more, "image_id": "7"} for more in range(2)]
    path = shop.json("instances.json", content)
    assert shop.prepare(path).problems == {
        "masks that cannot be matched with an image": [
            f"{path}: annotation 90 and 1 more: image_id '7' is none of 7, 8, 9"
        ]
    }
    assert (shop.ids()["a"] == boxes).all()


def test_a_list_and_a_folder_of_more_images_are_unlabelled(shop, tmp_path, boxes):
    for name in ("a", "c"):
        shop.mask(f"{name}.png", boxes)
    more, listed = tmp_path / "more", tmp_path / "list.txt"
    for name in ("x", "deep/y"):
        (more / name).parent.mkdir(parents=True, exist_ok=True)
        (more / f"{name}.jpg").write_bytes(shop.image("c").read_bytes())
    listed.write_text(f"more/../more/x.jpg\n{shop.image('z', folder='elsewhere')}\n")
    shop.prepare(more)
    assert {r.id for r in Folder().records(shop.root, "train") if not r.label} == {"day1/b", "more/x", "more/deep/y"}
    shop.prepare(listed)
    assert {r.id for r in Folder().records(shop.root, "train") if not r.label} == {"day1/b", "more/x", "elsewhere/z"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", "{", "x.json: not JSON"),
        ("x.json", "[]", "neither COCO's, labelme's nor Label Studio's"),
        ("x.zip", "PK", "x.zip: the archive is broken"),
        ("x.xml", "<a/>", "XML is not read: export from CVAT"),
        ("x.txt", "road\n", "expected a path of an image on every line"),
        ("x.bin", "", "x.bin: not known; known are COCO JSON"),
    ],
)
def test_what_is_not_known_is_one_line(shop, name, content, message):
    (shop.root / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        shop.prepare(shop.root / name)
    assert "\n" not in str(caught.value)


def test_a_label_that_is_no_class_names_the_classes_and_what_to_say(shop):
    content = coco(categories=[{"id": 3, "name": "Road"}, {"id": 18, "name": "lorry"}])
    with pytest.raises(InputError, match=r"'lorry' is no class; the classes are 0 background, 1 road, 2 traffic light"):
        shop.prepare(shop.json("c.json", content))
    (shop.root / "dataset.toml").write_text('values = { lorry = 1 }\nignore = ["ROAD"]\nbackground = 2\n')
    shop.prepare(shop.root / "c.json")
    assert sorted(np.unique(shop.ids()["a"])) == [1, 2, 255]


def test_drawings_without_image_and_broken_ones_are_problems_by_name_and_the_rest_is_made(shop, boxes):
    content = coco()
    content["images"][1]["file_name"] = "day2/b.jpg"
    content["images"][2]["width"] = 31
    content["annotations"].append({"id": 9, "image_id": 9, "category_id": 3, "segmentation": [flat(ROAD)]})
    shop.image("d")
    content["images"].append({"id": 10, "file_name": "d.jpg"})
    content["annotations"].append({"id": 10, "image_id": 10, "category_id": 3, "segmentation": [[1, 2, 3, 4, 5, "6"]]})
    shop.prepare(shop.json("c.json", content))
    (unmatched,) = shop.problems["masks that cannot be matched with an image"]
    assert "day2/b.jpg: no such image" in unmatched
    named = {record.id: record.image for record in Folder().records(shop.root, "train")}
    assert not named["day2/b"].exists()  # so that a training refuses, too
    wrong_size, broken = shop.problems["masks that cannot be converted"]
    assert "the mask is 31 x 20 pixels (width x height), its image as shown is 30 x 20" in wrong_size
    assert "image 10: annotation 10: a polygon has the coordinate '6'" in broken
    assert (np.array(Image.open(shop.root / "prepared/masks/a.png")) == boxes).all()


def test_what_was_taken_in_once_is_taken_in_again(shop, boxes):
    first, second = shop.json("first.json", coco()), shop.json("second.json", coco())
    shop.prepare(first)
    made = (shop.root / "prepared/masks/a.png").stat().st_mtime_ns
    shop.prepare()
    same(shop, boxes, "a", "day1/b")
    assert shop.told("first.json: taken in as before")
    assert shop.told("0 masks written, 2 are there already")
    assert (shop.root / "prepared/masks/a.png").stat().st_mtime_ns == made
    shop.prepare(second)
    assert shop.told("first.json is not taken in any more")
    second.unlink()
    shop.mask("a.png", boxes)
    shop.mask("c.png", boxes)
    shop.prepare()
    assert shop.told("second.json: gone, so its masks and images do not count")
    same(shop, boxes, "a", "c")


def test_overlaps_are_told(shop):
    content = coco()
    content["annotations"][1]["segmentation"] = [flat(ROAD)]
    shop.prepare(shop.json("c.json", content))
    assert shop.told("shapes of two classes overlap in 1 images", "100 pixels", "the smaller one lies on top")


def test_json_is_told_apart_by_its_content():
    assert not any(ask(content) for ask in (is_coco, is_labelme, is_labelstudio) for content in ({}, [], 3, [[]], "x"))
    assert clean_name("https://x.org/opensource/label-studio/1%202.jpg?token=3") == "opensource/label-studio/1 2.jpg"
