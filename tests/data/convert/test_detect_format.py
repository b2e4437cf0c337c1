import shutil
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import semivl_cli.data.formats
from semivl_cli.data.convert.detect_format import FORMATS, KNOWN
from semivl_cli.errors import InputError


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", "{", "x.json: not JSON"),
        ("x.json", "[]", "JSON of no kind that is read; known are"),
        ("x.ndjson", "{}", "JSON of no kind that is read; known are"),
        ("x.tsv", "a\tb", "a table that VIA 1 or 2 did not write: export JSON from the tool; known are"),
        ("x.zip", "PK", "x.zip: the archive is broken"),
        ("x.xml", "<a/>", "XML that is not CVAT's: export 'CVAT for images 1.1'"),
        ("x.txt", "road\n", "expected a path of an image on every line"),
        ("x.bin", "", "x.bin: not known; known are .*COCO JSON"),
    ],
)
def test_what_is_not_known_is_one_line(shop, name, content, message):
    (shop.root / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        shop.prepare(shop.root / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{}, [], 3, [[]], "x"])
def test_json_is_told_apart_by_its_content(shop, content):
    with pytest.raises(InputError, match="JSON of no kind that is read"):
        shop.prepare(shop.json("x.json", content))


def test_every_format_is_asked_for_and_named():
    room = Path(semivl_cli.data.formats.__file__).parent
    modules = [import_module(f"semivl_cli.data.formats.{path.stem}") for path in room.glob("[!_]*.py")]
    offered = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    assert sorted(one.title for one in offered) == sorted(one.title for one in FORMATS)
    assert all(f"{one.title}, " in KNOWN for one in FORMATS)
    assert KNOWN.endswith("a folder of masks, a folder of images, or a text file of image paths")


def test_files_of_two_tools_in_a_folder_are_opened_in_their_order_and_a_layout_beside_them_is_not(shop):
    task = {"data": {"image": "c.jpg"}, "annotations": [{"result": []}]}
    shop.json("tools/1.json", [task])
    shop.json("tools/2.json", shop.coco())
    (shop.root / "tools/data.yaml").write_text("names: [road]")
    shop.prepare(shop.root / "tools")
    assert [line.rpartition(": ")[2] for line in shop.lines[:2]] == ["Label Studio JSON", "COCO JSON"]
    assert not shop.told("YOLO")


def test_what_lies_beside_annotations_and_is_not_known_is_told(shop, boxes):
    shop.json("tools/c.json", shop.coco())
    for name in ("meta.json", "boxes.xml", "table.csv"):
        (shop.root / "tools" / name).write_text("{}")
    shop.prepare(shop.root / "tools")
    shop.same(boxes, "a", "day1/b")
    assert shop.told("3 files, ", "boxes.xml", "meta.json", "of no format that is read: passed over")


def test_what_lies_beside_pictures_and_is_not_known_is_told(shop, boxes):
    for name in ("a", "c"):
        shop.mask(f"{name}.png", boxes)
    shop.image("x", folder="more")
    (shop.root / "more/x.xml").write_text("<annotation/>")
    (shop.root / "more/boxes.mat").write_bytes(b"MATLAB")
    shop.prepare(shop.root / "more")
    assert shop.told("2 files, ", "boxes.mat", "x.xml", "the pictures are taken alone")


def test_annotations_of_another_tool_beside_a_whole_are_told(shop):
    shop.json("tools/a.json", {"imagePath": "a.jpg", "shapes": [{"label": "road", "points": shop.road}]})
    shop.json("tools/b.json", {"imagePath": "c.jpg", "shapes": [{"label": "road", "points": shop.road}]})
    shop.json("tools/coco.json", shop.coco())
    shop.prepare(shop.root / "tools")
    assert shop.told("1 file, ", "coco.json (COCO JSON) beside labelme JSON: name it alone to take it in")


def test_an_archive_in_an_archive_and_one_of_another_kind_say_what_to_do(shop, tmp_path):
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as packed:
        packed.writestr("task_1.zip", b"PK")
    with pytest.raises(InputError, match=r"nothing in it is known \(1 file, .*task_1\.zip\)"):
        shop.prepare(tmp_path / "out.zip")
    (tmp_path / "x.tar").write_bytes(b"")
    with pytest.raises(InputError, match="archives other than zip are not read here: unpack it"):
        shop.prepare(tmp_path / "x.tar")


@pytest.mark.parametrize("packed", [False, True])
def test_images_beside_annotations_are_found_at_any_depth(shop, boxes, tmp_path, packed):
    for name in ("x", "y"):
        shop.image(name, folder="../out/VOC2012/JPEGImages")
        shop.mask(f"{name}.png", boxes, folder="../out/VOC2012/SegmentationClass")
    (shop.root / "images").rename(tmp_path / "old")
    source = tmp_path / "out"
    if packed:
        source = tmp_path / "out.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in sorted((tmp_path / "out").rglob("*.*")):
                archive.write(path, path.relative_to(tmp_path / "out"))
    shop.prepare(source)
    found = shop.ids()
    assert {name.rpartition("/")[2] for name in found} == {"x", "y"}
    assert all((ids == boxes).all() for ids in found.values())


@pytest.mark.parametrize("layout", ["img_dir/{} ann_dir/{}", "JPEGImages/480p/{} Annotations/480p/{}", "{}/imgs {}/gt"])
@pytest.mark.parametrize("packed", [False, True])
def test_masks_in_folders_of_other_names_belong_to_the_images_beside_them(shop, boxes, layout, packed):
    shutil.rmtree(shop.root / "images")
    export = shop.root.parent / "export"
    for split in ("train", "val"):
        of_images, of_masks = layout.format(split, split).split()
        shop.image("7", folder=export / of_images)
        shop.mask("7.png", boxes.astype(np.uint8), export / of_masks)
    shop.prepare(Path(shutil.make_archive(str(export), "zip", export)) if packed else export)
    found = shop.ids()
    assert [name.rpartition("/")[2] for name in found] == ["7", "7"]
    assert all((ids == boxes).all() for ids in found.values())
    assert shop.problems == {}


def test_images_given_beside_masks_of_a_suffix_are_images(shop, boxes, tmp_path):
    (shop.root / "images").rename(tmp_path / "old")
    (shop.root / "dataset.toml").write_text('mask_suffix = "_ids"')
    for name in ("x", "y"):
        shop.image(name, folder="photos")
        shop.mask(f"{name}_ids.png", boxes, folder="export")
        shop.mask(f"{name}_color.png", shop.colored(boxes), folder="export")
    shop.prepare(shop.root / "export", shop.root / "photos")
    shop.same(boxes, "photos/x", "photos/y")
    assert shop.told("2 pictures are no masks: their names do not end in '_ids'")
