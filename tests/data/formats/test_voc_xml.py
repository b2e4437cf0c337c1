from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
import pytest

from semivl_cli.data.annotation.format_contract import Given
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.voc_xml import find_voc_xml, open_voc_xml
from semivl_cli.errors import InputError


def roboflow(name, *objects, folder="", database="roboflow.com"):
    """As Roboflow's export "Pascal VOC" and supervision write it: objects are labels and corners."""
    root = Element("annotation")
    SubElement(root, "folder").text = folder
    SubElement(root, "filename").text = name
    SubElement(SubElement(root, "source"), "database").text = database
    size = SubElement(root, "size")
    for tag, text in (("width", "30"), ("height", "20"), ("depth", "3")):
        SubElement(size, tag).text = text
    SubElement(root, "segmented").text = "0"
    for label, points in objects:
        one = SubElement(root, "object")
        SubElement(one, "name").text = label
        SubElement(SubElement(one, "bndbox"), "xmin").text = "1"
        if points:
            polygon = SubElement(one, "polygon")
            for number, (x, y) in enumerate(points, 1):
                SubElement(polygon, f"x{number}").text = str(x)
                SubElement(polygon, f"y{number}").text = str(y)
    return tostring(root)


@pytest.fixture
def drawn(shop):
    return (("road", shop.road), ("traffic light", shop.light))


def test_roboflow_lays_xml_beside_the_images_of_each_split(tmp_path, shop, boxes, drawn):
    export = shop.root.parent / "street.v1i.voc"
    for split, name in (("train", "a"), ("train", "c"), ("valid", "b"), ("test", "d")):
        stem = f"{name}_jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9"
        (export / split).mkdir(parents=True, exist_ok=True)
        (export / split / f"{stem}.jpg").write_bytes(shop.image(stem).read_bytes())
        (export / split / f"{stem}.xml").write_bytes(roboflow(f"{stem}.jpg", *drawn))
    told = [drawing.split for drawing in open_voc_xml(Tree(export)).drawings()]
    assert told == ["test", "train", "train", "val"]
    shop.root = tmp_path / "empty"
    shop.prepare(export)
    hashed = "jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9"
    shop.same(boxes, *(f"{export.name}/{name}_{hashed}" for name in ("train/a", "train/c", "valid/b")))


def test_supervision_counts_from_one(shop, boxes, drawn):
    shifted = [(label, [(x + 1, y + 1) for x, y in points]) for label, points in drawn]
    for name in ("a", "c"):
        path = shop.root / f"xml/{name}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(roboflow(f"{name}.jpg", *shifted, folder="VOC", database="roboflow.ai"))
    shop.prepare(shop.root / "xml")
    shop.same(boxes, "a", "c")


def test_labelme_of_old_has_points_and_objects_that_were_deleted(shop, boxes, drawn):
    root = Element("annotation")
    SubElement(root, "filename").text = "\na.jpg\n"
    for label, points, deleted in (*((*one, 0) for one in drawn), ("car", shop.road, 1)):
        one = SubElement(root, "object")
        SubElement(one, "name").text = f"\n{label}\n"
        SubElement(one, "deleted").text = str(deleted)
        polygon = SubElement(one, "polygon")
        SubElement(polygon, "username").text = "anonymous"
        for x, y in points:
            point = SubElement(polygon, "pt")
            SubElement(point, "x").text, SubElement(point, "y").text = str(x), str(y)
    path = shop.root / "a.xml"
    path.write_bytes(tostring(root))
    source = open_voc_xml(Tree(path))
    assert list(source.labels) == ["road", "traffic light"]
    shop.image("d")
    other = shop.root / "d.xml"
    other.write_bytes(tostring(root).replace(b"a.jpg", b"d.jpg"))
    shop.prepare(path, other)
    shop.same(boxes, "a", "d")


def test_what_was_drawn_with_a_brush_costs_its_image(shop, tmp_path):
    """As the LabelMe export of CVAT has it."""
    root = Element("annotation")
    SubElement(root, "filename").text = "a.jpg"
    size = SubElement(root, "imagesize")
    SubElement(size, "nrows").text, SubElement(size, "ncols").text = "20", "30"
    one = SubElement(root, "object")
    SubElement(one, "name").text = "road"
    SubElement(SubElement(one, "segm"), "mask").text = "a_mask_0.png"
    (tmp_path / "default").mkdir()
    path = tmp_path / "default/a.xml"
    path.write_bytes(tostring(root))
    source = open_voc_xml(Tree(path))
    (drawing,) = source.drawings()
    assert (drawing.size, source.notes) == ((20, 30), [])

    class Key:
        background, class_of = 0, {"road": 1}

    with pytest.raises(InputError, match=r"it was drawn with a brush \(a_mask_0\.png\).*export COCO"):
        drawing.paint(Key, (20, 30))


def test_boxes_short_polygons_and_empty_files_are_counted(tmp_path, shop):
    for name, objects in (("a", [("car", None), ("road", shop.road), ("bus", shop.road[:2])]), ("b", [])):
        (tmp_path / f"{name}.xml").write_bytes(roboflow(f"{name}.jpg", *objects))
    source = open_voc_xml(Tree(tmp_path))
    assert list(source.labels) == ["road"]
    assert [note.split()[:3] for note in source.notes] == [
        ["1", "images", "have"],
        ["1", "objects", "are"],
        ["1", "polygons", "have"],
    ]
    assert [drawing.marks for drawing in source.drawings()] == [3]


def test_xml_of_boxes_alone_is_no_drawing(tmp_path, shop):
    path = tmp_path / "a.xml"
    path.write_bytes(roboflow("a.jpg", ("car", None)))
    assert find_voc_xml(Given(Tree(path))) == []
    path.write_bytes(roboflow("a.jpg", ("car", shop.road)))
    assert find_voc_xml(Given(Tree(path))) == [Tree(path)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b"<x1>10</x1>", b"<x1>ten</x1>"), "road: a polygon has 'ten' where a number is expected"),
        ((b"<y2>5</y2>", b""), "road: a polygon has None"),
        ((b"<name>road</name>", b"<name> </name>"), "an object has no name"),
        ((b"</annotation>", b""), "a.xml"),
    ],
)
def test_what_xml_lacks_is_told(tmp_path, shop, change, message):
    path = tmp_path / "a.xml"
    path.write_bytes(roboflow("a.jpg", ("road", shop.road)).replace(*change))
    with pytest.raises(InputError, match=message):
        open_voc_xml(Tree(path))


def test_a_coordinate_that_is_none_is_told_with_its_object(tmp_path, shop):
    path = tmp_path / "a.xml"
    path.write_bytes(roboflow("a.jpg", ("road", shop.road)).replace(b"<x1>10</x1>", b"<x1>nan</x1>"))
    [drawing] = open_voc_xml(Tree(path)).drawings()
    key = type("Key", (), {"background": 0, "class_of": {"road": 1}})()
    with pytest.raises(InputError, match=r"object 0 \(road\): a polygon has the coordinate nan"):
        drawing.paint(key, np.zeros((20, 30)).shape)
