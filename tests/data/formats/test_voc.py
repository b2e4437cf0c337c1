import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.voc import open_voc
from semivl_cli.errors import InputError


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
    shop.prepare(cvat(shop.root / "task.zip", {"a": shop.png(shop.colored(boxes)), "day1/b": data.getvalue()}))
    shop.same(boxes, "a", "day1/b")
    assert shop.told("task.zip: masks in the layout of CVAT")


def test_cvat_background_that_is_no_class_is_ignored_unless_dataset_toml_says(shop, boxes):
    classes = (("road", (1, 1, 1)), ("traffic light", (2, 2, 2)))
    archive = cvat(shop.root / "task.zip", {"a": shop.png(shop.colored(boxes)), "c": shop.png(shop.colored(boxes))})
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
    shop.same(boxes, "a", "day1/b")


def test_labelme_s_own_voc_export_counts_from_ignore(shop, boxes):
    (shop.root / "voc/SegmentationClassPNG").mkdir(parents=True)
    (shop.root / "voc/class_names.txt").write_text("__ignore__\n_background_\ntraffic light\nroad\n")
    for name in ("a", "c"):
        Image.fromarray(np.array([0, 2, 1], np.uint8)[boxes]).save(shop.root / f"voc/SegmentationClassPNG/{name}.png")
    shop.prepare(shop.root / "voc")
    shop.same(boxes, "a", "c")


@pytest.mark.parametrize("colored", [True, False])
def test_a_label_that_no_mask_shows_needs_no_class_and_one_that_is_shown_is_told(shop, boxes, colored):
    labels = ["background", "road", "traffic light", "scale bar"]
    colors = ["0,0,0", "128,64,128", "250,170,30", "9,8,7"] if colored else [""] * 4
    text = "".join(f"{label}:{color}::\n" for label, color in zip(labels, colors, strict=True))
    picture = shop.png(shop.colored(boxes)) if colored else shop.png(boxes)
    shop.prepare(cvat(shop.root / "task.zip", {"a": picture, "c": picture}, text))
    shop.same(boxes, "a", "c")
    shown = shop.colored(boxes) if colored else boxes.copy()
    shown[0, 0] = (9, 8, 7) if colored else 3
    shop.image("d")
    masks = {"a": picture, "c": picture, "d": shop.png(shown)}
    [(_, [problem])] = shop.prepare(cvat(shop.root / "task.zip", masks, text)).problems.items()
    assert problem.endswith(f"labels that are no class: 'scale bar' ({'#090807' if colored else '3'})")


def voc(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Tree(root)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            "background:0,0,0::\nbus:250,170,30::\ncar:250,170,30::\n",
            "'bus' and 'car' both have the colour #faaa1e",
        ),
        ("sky:0,0,0::\nbackground:0,0,0::\n", "labels 'sky' and 'background' both have the colour #000000"),
        ("road\n", "labelmap.txt:1: expected name:red,green,blue::, got 'road'"),
        ("road:1,2::\n", "labelmap.txt:1: expected name:red,green,blue::"),
        ("road:1,2,300::\n", "labelmap.txt:1: expected name:red,green,blue::"),
        (f"road:{'9' * 5000},2,3::\n", "labelmap.txt:1: expected name:red,green,blue::"),
    ],
)
def test_a_label_map_that_does_not_tell_labels_apart_is_refused(tmp_path, labels, message):
    with pytest.raises(InputError, match=message):
        open_voc(voc(tmp_path, {"labelmap.txt": labels}))


def test_two_label_maps_that_differ_are_refused_and_two_that_agree_are_one(tmp_path):
    same = {f"{task}/labelmap.txt": "background:0,0,0::\nroad:1,2,3::\n" for task in ("one", "two")}
    assert list(open_voc(voc(tmp_path, same)).labels) == ["background", "road"]
    with pytest.raises(InputError, match="explain the masks differently"):
        open_voc(voc(tmp_path, {"two/class_names.txt": "_background_\nroad\n"}))


def test_labels_may_have_signs_remarks_and_several_colours_or_none(shop, boxes):
    text = "background:::\nroad:::\ntraffic light:::  # of whatever colour\n"
    masks = {"a": shop.png(boxes), "c": shop.png(boxes)}
    shop.prepare(cvat(shop.root / "grey.zip", masks, text))
    shop.same(boxes, "a", "c")
    text = "background:0,0,0\nroad : 128, 64, 128 : : \nroad:1,2,3:part,part:walk\ntraffic light:250,170,30::\n"
    colored = shop.colored(boxes)
    colored[6, 11] = 1, 2, 3
    shop.prepare(cvat(shop.root / "colored.zip", {name: shop.png(colored) for name in masks}, text))
    shop.same(boxes, "a", "c")
    assert list(open_voc(voc(shop.root / "x", {"labelmap.txt": "car: front:1,2,3::\n"})).labels) == ["car: front"]


def test_what_is_ignored_may_stand_anywhere_in_labelme_s_list(shop, boxes):
    (shop.root / "voc/SegmentationClass").mkdir(parents=True)
    (shop.root / "voc/class_names.txt").write_text("_background_\n__ignore__\nroad\ntraffic light\n")
    for name in ("a", "c"):
        Image.fromarray(np.array([1, 2, 3], np.uint8)[boxes]).save(shop.root / f"voc/SegmentationClass/{name}.png")
    shop.prepare(shop.root / "voc")
    shop.same(np.where(boxes, boxes, 255), "a", "c")


def test_lists_of_image_sets_are_the_splits_of_the_exporter(tmp_path):
    files = {
        "labelmap.txt": "background:0,0,0::\n",
        "ImageSets/Segmentation/train.txt": "a\nday1/b\n",
        "ImageSets/Segmentation/val.txt": "c\r\n",
        "ImageSets/Segmentation/trainval.txt": "a\nday1/b\nc\nd\n",
        "ImageSets/Main/test.txt": "a\n",
        **{f"SegmentationClass/{name}.png": b"" for name in ("a", "day1/b", "c", "d")},
    }
    told = {drawing.image: drawing.split for drawing in open_voc(voc(tmp_path, files)).drawings()}
    assert told == {"a.png": "train", "day1/b.png": "train", "c.png": "val", "d.png": None}


@given(st.text(alphabet="ab:,#019 \n\r\x00é", max_size=40), st.sampled_from(["labelmap.txt", "class_names.txt"]))
def test_whatever_explains_masks_is_read_or_one_line(tmp_path_factory, text, name):
    try:
        open_voc(voc(tmp_path_factory.mktemp("voc"), {name: text}))
    except InputError as error:
        assert "\n" not in str(error)


def test_a_definition_that_fits_no_label_is_refused_at_once(shop, boxes):
    archive = cvat(shop.root / "task.zip", {"a": shop.png(shop.colored(boxes))}, "background:0,0,0::\ncar:1,2,3::\n")
    with pytest.raises(InputError, match=r"'car' is no class; the classes are 0 background, 1 road"):
        shop.prepare(archive)
