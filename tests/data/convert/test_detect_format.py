from importlib import import_module
from pathlib import Path

import pytest

import semivl_cli.data.formats
from semivl_cli.data.convert.detect_format import FORMATS, KNOWN
from semivl_cli.errors import InputError


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", "{", "x.json: not JSON"),
        ("x.json", "[]", "JSON of no kind that is read; known are"),
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
