import io
import zipfile

import numpy as np
from PIL import Image


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
