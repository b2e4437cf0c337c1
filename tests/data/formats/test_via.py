import csv
import io
import json
import math
import re

import numpy as np
import pytest

from semivl_cli.errors import InputError


def polygon(points):
    x, y = zip(*points, strict=True)
    return {"name": "polygon", "all_points_x": list(x), "all_points_y": list(y)}


def rect(points):
    (left, top), _, (right, bottom), _ = points
    return {"name": "rect", "x": left, "y": top, "width": right - left, "height": bottom - top}


def region(shape, **attributes):
    return {"shape_attributes": shape, "region_attributes": attributes}


def images(numbered=False, **regions):
    """Return the entries of images as VIA keys them, by name and size; VIA 1 numbers the regions."""
    return {
        f"{name}.jpg{4000}": {
            "filename": f"{name}.jpg",
            "size": 4000,
            "regions": {str(number): one for number, one in enumerate(drawn)} if numbered else drawn,
            "file_attributes": {},
        }
        for name, drawn in regions.items()
    }


def project(entries, label="__via_region_id__"):
    return {
        "_via_settings": {
            "ui": {"annotation_editor_height": 25, "image": {"region_label": label, "region_color": "default"}},
            "core": {"buffer_size": 18, "filepath": {}, "default_filepath": ""},
            "project": {"name": "streets"},
        },
        "_via_img_metadata": entries,
        "_via_attributes": {"region": {}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(entries),
    }


@pytest.fixture
def regions(shop):
    """What draws the class map of `boxes`."""
    return [region(polygon(shop.road), label="road"), region(rect(shop.light), label="traffic light")]


@pytest.mark.parametrize("whole", [True, False])
def test_a_project_and_an_export_of_via_2(shop, boxes, regions, whole):
    line = region({"name": "polyline", "all_points_x": [1, 2], "all_points_y": [3, 4]}, label="never a class")
    point = region({"name": "point", "cx": 3, "cy": 4})
    entries = images(a=[*regions, line, point, point], b=regions, c=[])
    shop.prepare(shop.json("via.json", project(entries) if whole else entries))
    shop.same(boxes, "a", "day1/b")
    assert shop.told("drawn without an area, left out: 1 polyline, 2 point")
    assert shop.told("1 of 3 images have no region: they have no mask")


def test_an_export_of_via_1(shop, boxes, regions):
    entries = images(numbered=True, a=regions, b=regions)
    for entry in entries.values():
        entry |= {"fileref": "", "base64_img_data": ""}
    shop.prepare(shop.json("via_region_data.json", entries))
    shop.same(boxes, "a", "day1/b")


@pytest.mark.parametrize("start", ["filename,", "#filename,"])
def test_a_csv_export(shop, boxes, regions, start):
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file_size", "file_attributes", "region_count", "region_id", "region_shape_attributes"])
    head = start + text.getvalue().strip() + ",region_attributes\n"
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for name, drawn in (("a", regions), ("b", regions)):
        for number, one in enumerate(drawn):
            parts = json.dumps(one["shape_attributes"]), json.dumps(one["region_attributes"])
            rows.writerow([f"{name}.jpg", 4000, "{}", len(drawn), number, *parts])
    rows.writerow(["c.jpg", 4000, "{}", 0, 0, "{}", "{}"])
    (shop.root / "via.csv").write_text(head + text.getvalue())
    shop.prepare(shop.root / "via.csv")
    shop.same(boxes, "a", "day1/b")


def test_a_csv_line_that_via_does_not_write_is_named(shop):
    head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
    for line, message in (("a.jpg,1\n", "line 2: expected a line"), ('a.jpg,1,{},1,0,"{",{}\n', "line 2: not JSON")):
        (shop.root / "via.csv").write_text(head + line)
        with pytest.raises(InputError, match=message):
            shop.prepare(shop.root / "via.csv")


def test_a_project_of_via_3(shop, boxes):
    def metadata(view, xy, **av):
        return {"vid": view, "flg": 0, "z": [], "xy": xy, "av": {key.strip("_"): value for key, value in av.items()}}

    (left, top), _, (right, bottom), _ = shop.light
    both = [[7, *shop.flat(shop.road)], [2, left, top, right - left, bottom - top], [6, 1, 1, 5, 5]]
    extreme = [8, 4, top, left, 2, right, 3, 5, bottom]
    content = {
        "project": {"pid": "__VIA_PROJECT_ID__", "rev": "1", "pname": "streets", "data_format_version": "3.1.1"},
        "config": {"file": {"loc_prefix": {"1": ""}}, "ui": {"spatial_region_label_attribute_id": "1"}},
        "attribute": {
            "1": {
                "aname": "class",
                "anchor_id": "FILE1_Z0_XY1",
                "type": 4,
                "desc": "",
                "options": {"0": "road", "1": "traffic light"},
                "default_option_id": "",
            },
            "2": {"aname": "note", "anchor_id": "FILE1_Z0_XY1", "type": 1, "desc": "", "options": {}},
        },
        "file": {str(n): {"fid": n, "fname": f"{name}.jpg", "type": 2, "loc": 1} for n, name in enumerate("abc", 1)},
        "view": {str(number): {"fid_list": [number]} for number in (1, 2, 3)},
        "metadata": {
            "1_q": metadata("1", both[0], _1="0", _2="far, away"),
            "1_w": metadata("1", both[1], _1="1"),
            "1_e": metadata("1", both[2], _1="1"),
            "1_r": metadata("1", [], _1="1"),
            "2_q": metadata("2", both[0], _1="0"),
            "2_w": metadata("2", extreme, _1="1"),
        },
    }
    shop.prepare(shop.json("via3.json", content))
    shop.same(boxes, "a", "day1/b")
    assert shop.told("the attribute 'class' is the label; not read: note")
    for part, key, message in (("file", "fid", "two files have the id 1"), ("attribute", "aname", "two .* 'class'")):
        twice = {**content[part], "2": {**content[part]["2"], key: content[part]["1"][key]}}
        with pytest.raises(InputError, match=message):
            shop.prepare(shop.json("twice.json", {**content, part: twice}))
    content["view"]["2"]["fid_list"] = [2, 3]
    with pytest.raises(InputError, match="metadata 2_q: its view 2 shows 2 files, expected one"):
        shop.prepare(shop.json("via3.json", content))


def test_circles_and_turned_ellipses(shop):
    circle = region({"name": "circle", "cx": 15, "cy": 10, "r": 5}, label="road")
    turned = region({"name": "ellipse", "cx": 15, "cy": 10, "rx": 4, "ry": 8, "theta": math.pi / 2}, label="road")
    ids = shop.prepare(shop.json("via.json", project(images(a=[circle], c=[turned])))).ids()
    y, x = np.mgrid[:20, :30] + 0.5
    assert np.count_nonzero(ids["a"] != ((x - 15) ** 2 + (y - 10) ** 2 < 25)) <= 8
    assert np.count_nonzero(ids["c"] != (((x - 15) / 8) ** 2 + ((y - 10) / 4) ** 2 < 1)) <= 8


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ({"kind": "road"}, {"kind": "traffic light"}, ""),
        ({"what": {"road": True, "dog": False}}, {"what": {"traffic light": True}}, ""),
        ({"class": "road", "seen": "no"}, {"class": "traffic light", "seen": ""}, ""),
        ({"class": "road", "type": "b"}, {"class": "traffic light", "type": "c"}, "class"),
        ({"kind": "road", "seen": "no"}, {"kind": "traffic light"}, "kind"),
    ],
)
def test_which_attribute_is_the_label(shop, boxes, first, second, shown):
    drawn = [region(polygon(shop.road), **first), region(polygon(shop.light), **second)]
    shop.prepare(shop.json("via.json", project(images(a=drawn, b=drawn), shown)))
    shop.same(boxes, "a", "day1/b")


def test_attributes_of_which_any_may_be_the_label_are_named(shop):
    drawn = [region(polygon(shop.road), kind="road", state="dry")]
    with pytest.raises(InputError, match="the attributes kind, state: which of them is the label cannot be told"):
        shop.prepare(shop.json("via.json", images(a=drawn)))


def test_regions_without_a_label_are_ignored_and_those_of_a_file_without_any_are_objects(shop, boxes, regions):
    nameless = region({"name": "rect", "x": 27, "y": 18, "width": 3, "height": 2}, label="")
    shop.prepare(shop.json("via.json", images(a=[*regions, nameless], b=[*regions, nameless])))
    boxes[18:, 27:] = 255
    shop.same(boxes, "a", "day1/b")
    assert shop.told("2 regions have no label: their pixels are ignored")
    with pytest.raises(InputError, match="'object' is no class"):
        shop.prepare(shop.json("via.json", images(a=[region(polygon(shop.road))])))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (region({"name": "star"}, label="dog"), r"a.jpg: region 2 \(dog\): a shape 'star' cannot be painted: expected"),
        (region({"name": "rect", "x": 1}, label="road"), "a shape 'rect' has x, y, width, height"),
        (region({**polygon([(1, 1), (2, 2), (3, 1)]), "all_points_y": [1]}, label="road"), "it has 3 x and 1 y"),
        (region(polygon([(1, 1), (2, 2), (3, 1)]), label={"road": True, "dog": True}), "it has 2 labels, a pixel has"),
    ],
)
def test_a_region_that_cannot_be_painted_costs_its_image_alone(shop, regions, wrong, message):
    shop.root.joinpath("dataset.toml").write_text('ignore = ["dog"]\n')
    shop.prepare(shop.json("via.json", images(a=[*regions, wrong], b=regions, c=regions)))
    (problem,) = shop.problems["masks that cannot be converted"]
    assert re.search(message, problem)


def test_two_images_of_one_name_are_told(shop, boxes, regions):
    entries = images(a=regions, b=regions)
    entries["a.jpg77"] = {**entries["a.jpg4000"], "size": 77}
    entries["c.jpg1"] = {**entries["a.jpg4000"], "filename": "c.jpg"}
    shop.prepare(shop.json("via.json", entries))
    (problem,) = shop.problems.pop("masks that cannot be matched with an image")
    assert problem.endswith("a.jpg: 2 images are called so")
    shop.same(boxes, "c", "day1/b")
