import json
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semivl_cli.data.annotation.annotations import Key
from semivl_cli.data.annotation.format_contract import Given
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.yolo import find_yolo, open_yolo
from semivl_cli.errors import InputError

ROAD, LIGHT = ((10, 5), (20, 5), (20, 15), (10, 15)), ((2, 0), (6, 0), (6, 4), (2, 4))


def line(number, points):
    return f"{number} " + " ".join(f"{x / 30:.6f} {y / 20:.6f}" for x, y in points)


LINES = f"{line(1, ROAD)}\n{line(0, LIGHT)}\n"
NAMES = "names: [traffic light, road]\n"


@pytest.fixture
def export(tmp_path):
    """Writes files: path -> text."""
    folder = tmp_path / "export"

    def write(files):
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder

    return write


def opened(path):
    return open_yolo(Tree.open(path))


def splits(source):
    return {drawing.image: drawing.split for drawing in source.drawings()}


def painted(source, size=(20, 30)):
    """Paint its only drawing: the light is 1, the road 2."""
    [drawing] = source.drawings()
    key = Key(class_of={"traffic light": 1, "road": 2}, background=0, class_ids=np.asarray, names=["ground"])
    return drawing.paint(key, size).ids


@pytest.mark.parametrize("layout", ["images/train", "train/images"])
def test_yolo_polygons(tmp_path, shop, boxes, layout):
    root = shop.root.parent / "yolo"
    labels = root / layout.replace("images", "labels")
    labels.mkdir(parents=True)
    (root / layout).mkdir(parents=True)
    for name in ("a", "c"):
        (root / layout / f"{name}.jpg").write_bytes((shop.root / "images" / f"{name}.jpg").read_bytes())
        (labels / f"{name}.txt").write_text(LINES)
    (root / layout / "unlabelled.jpg").write_bytes((shop.root / "images/day1/b.jpg").read_bytes())
    (root / "data.yaml").write_text(f"path: .\ntrain: {layout}\n{NAMES}")
    shop.prepare(root)  # beside the images of the root
    shop.same(boxes, "a", "c")
    shop.root = tmp_path / "empty"  # in place, where the root has none
    shop.prepare(root)
    shop.same(boxes, f"yolo/{layout}/a", f"yolo/{layout}/c")


def test_roboflow_lays_readmes_beside_the_folders_of_its_splits(export):
    name = "IMG_1_jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9"
    folder = export(
        {
            "data.yaml": "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\n"
            "names: ['traffic light', 'road']\n\nroboflow:\n  workspace: some\n  version: 1\n",
            "README.dataset.txt": "# fruit > 2024-08-19 12:42pm\nhttps://universe.roboflow.com/some/fruit\n",
            "README.roboflow.txt": "\nfruit - v1 2024-08-19 12:42pm\n==============================\n",
            **{f"{part}/labels/{name}.txt": LINES.rstrip() for part in ("train", "valid", "test")},
        }
    )
    source = opened(folder)
    told = {"train": "train", "valid": "val", "test": "test"}
    assert splits(source) == {f"{part}/images/{name}": split for part, split in told.items()}
    assert source.notes == ["text files that are no labels: 2 (README.dataset.txt, README.roboflow.txt)"]


def test_cvat_lists_the_images_of_each_subset(tmp_path):
    """Ultralytics YOLO Segmentation 1.0."""
    path = tmp_path / "task.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.yaml", "names:\n  0: traffic light\n  1: road\npath: .\ntrain: train.txt\nval: val.txt")
        archive.writestr("train.txt", "data/images/train/a.jpg\n")
        archive.writestr("val.txt", "data/images/val/b b.jpg\r\n")
        archive.writestr("labels/train/a.txt", LINES)
        archive.writestr("labels/val/b b.txt", "")
    source = opened(path)
    assert splits(source) == {"images/train/a": "train", "images/val/b b": "val"}
    assert [drawing.marks for drawing in source.drawings()] == [2, 0]
    assert source.notes == []


def test_label_studio_lists_classes_and_lays_notes_beside(export):
    folder = export(
        {
            "classes.txt": "traffic light\nroad\n",
            "notes.json": json.dumps({"categories": [{"id": 0, "name": "traffic light"}], "info": {"version": "1.0"}}),
            "labels/e875f551-a.txt": LINES,
        }
    )
    assert splits(opened(folder)) == {"images/e875f551-a": None}
    assert (painted(opened(folder))[0:4, 2:6] == 1).all()


def test_darknet_lists_names_in_files_of_its_own(export):
    folder = export(
        {
            "obj.data": "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n",
            "obj.names": "traffic light\n\nroad\n",
            "train.txt": "data/obj_train_data/a.png\n",
            "valid.txt": "data/obj_valid_data/b.png\n",
            "obj_train_data/a.txt": LINES.replace("1 0.3", "2 0.3"),
            "obj_valid_data/b.txt": LINES.replace("1 0.3", "2 0.3"),
        }
    )
    source = opened(folder)
    assert list(source.labels) == ["traffic light", "road"]
    assert splits(source) == {"obj_train_data/a": "train", "obj_valid_data/b": "val"}


def test_labels_may_lie_flat_beside_their_images_or_alone(export):
    folder = export(
        {"classes.txt": "\ufefftraffic light\r\nroad\r\n", "a.txt": LINES, "b.txt": "", "log.txt": "12 runs\n"}
    )
    source = opened(folder)
    assert splits(source) == {"a": None, "b": None}
    assert source.notes == ["text files that are no labels: 1 (log.txt)"]
    (folder / "log.jpg").write_bytes(b"")
    assert set(splits(opened(folder))) == {"a", "b", "log"}


@pytest.mark.parametrize(
    "names",
    [
        "{0: traffic light, 1: road}",
        "{'0': traffic light, '1': road}",
        "['traffic light', road]",
        "{1: road, 0: traffic light, 7: 2024-13-45}",
    ],
)
def test_names_are_a_list_or_have_numbers_as_keys(export, names):
    source = opened(export({"data.yaml": f"created: 2024-13-45\nnames: {names}\n", "labels/a.txt": LINES}))
    assert list(source.labels) == ["traffic light", "road"]
    found = painted(source)
    assert (found[5:15, 10:20] == 2).all()
    assert (found[0:4, 2:6] == 1).all()


def test_a_class_that_no_polygon_has_needs_none(export):
    source = opened(export({"data.yaml": NAMES, "labels/a.txt": line("1.0", ROAD) + "\n0 0.1 0.1 0.2 0.2\n"}))
    assert list(source.labels) == ["road"]


def test_the_smaller_lies_on_top_wherever_it_is_listed(export):
    around = ((0, 0), (28, 0), (28, 18), (0, 18))
    for lines in ((line(0, ROAD), line(1, around)), (line(1, around), line(0, ROAD))):
        source = opened(export({"data.yaml": NAMES, "labels/a.txt": "\n".join(lines)}))
        expected = np.zeros((20, 30), int)
        expected[:18, :28] = 2
        expected[5:15, 10:20] = 1
        assert (painted(source) == expected).all()
        assert "the smaller one lies on top" in source.on_top


def test_a_yaml_file_alone_stands_for_its_folder_or_else_for_its_path(tmp_path, export):
    folder = export({"data.yaml": NAMES, "other.yaml": "names: [x]\n", "labels/a.txt": LINES})
    assert set(splits(opened(folder / "data.yaml"))) == {"images/a"}
    elsewhere = tmp_path / "settings/mine.yaml"
    elsewhere.parent.mkdir()
    elsewhere.write_text(f"path: ../export\n{NAMES}")
    assert set(splits(opened(elsewhere))) == {"images/a"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"data.yaml": f"kpt_shape: [3, 2]\n{NAMES}", "labels/a.txt": "0 0.5 0.5 0.4 0.6 0.3 0.2 0.7 0.2"},
            "key points",
        ),
        ({"data.yaml": "names: [a]\n", "classes.txt": "b\n", "labels/a.txt": LINES}, "different names of classes"),
        ({"a.yaml": "names: [a]\n", "b.yaml": "names: [b]\n", "labels/a.txt": LINES}, "different names of classes"),
        ({"labels/a.txt": LINES}, "expected data.yaml or classes.txt"),
        ({"data.yaml": NAMES}, "no text files of labels"),
        ({"data.yaml": NAMES, "labels/a.txt": LINES, "images/a.txt": LINES}, "are both labels of images/a"),
        ({"data.yaml": NAMES, "labels/a.txt": "0 0.5 0.5 0.1 0.1\n", "labels/b.txt": ""}, "1 boxes and no polygon"),
    ],
)
def test_what_a_data_set_lacks_is_told(export, files, message):
    with pytest.raises(InputError, match=message):
        opened(export(files))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{line(0, ROAD)}\n0 0.5 0.5 0.1 0.1", "a.txt:2: a box, not a polygon"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "a.txt:1: a polygon has pairs of x and y, three at least: got 7 numbers"),
        ("0 0.1 0.1", "got 2 numbers"),
        ("0 10 10 200 10 200 150", "expected coordinates as fractions"),
        ("0 nan 0.1 0.2 0.2 0.3 0.3", "expected coordinates as fractions"),
        ("\n5 0.1 0.1 0.2 0.2 0.3 0.3", "a.txt:2: the class 5 is none of 0, 1"),
        ("road 0.1 0.1 0.2 0.2 0.3 0.3", "expected the number of a class first"),
        ("1.5 0.1 0.1 0.2 0.2 0.3 0.3", "expected the number of a class first"),
        ("0 0.1 0.1 0.2 0.2 0.3 x", "expected a class and numbers"),
    ],
)
def test_a_line_that_is_no_polygon_is_told_with_its_number(export, text, message):
    with pytest.raises(InputError, match=message):
        painted(opened(export({"data.yaml": NAMES, "labels/a.txt": text})))


def test_corners_outside_the_image_are_cut_off(export):
    source = opened(export({"data.yaml": NAMES, "labels/a.txt": "0 -0.1 -0.1 1.1 -0.1 1.1 1.1 -0.1 1.1"}))
    assert (painted(source) == 1).all()


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"classes.txt": "a\nb\n", "README.txt": "Masks of 2024\n"}, False),
        ({"config.yaml": "lr: 0.1\n", "a.txt": LINES}, False),
        ({"classes.txt": "a\nb\n", "a.txt": LINES}, True),
        ({"data.yaml": NAMES, "a.txt": LINES}, True),
        ({"labels/train/a.txt": LINES}, True),
        ({"labels/a.png": "", "README.txt": "Masks of 2024\n"}, False),
        ({"obj_Train_data/a.txt": LINES}, True),
    ],
)
def test_a_list_of_classes_alone_makes_no_yolo_data_set(export, files, found):
    """Masks may lie beside one as well."""
    assert bool(find_yolo(Given(Tree.open(export(files))))) == found


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_stands_in_the_files_is_a_drawing_or_one_line(tmp_path_factory, yaml, labels):
    folder = tmp_path_factory.getbasetemp() / "any"
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_bytes(yaml.encode("utf-8", "surrogatepass"))
    (folder / "classes.txt").write_bytes(b"a\nb\n")
    (folder / "labels/a.txt").write_bytes(labels.encode("utf-8", "surrogatepass"))
    try:
        source = opened(folder)
        key = Key(class_of=dict.fromkeys(source.labels, 1), background=0, class_ids=np.asarray, names=["a", "b"])
        for drawing in source.drawings():
            assert drawing.paint(key, (20, 30)).ids.shape == (20, 30)
    except InputError as error:
        assert "\n" not in str(error)


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 20)).save(path)


@pytest.mark.parametrize(
    "told", ["path: mine\n", "path: {}/mine\n", "train: {0}/mine/images/a\nval: {0}/mine/images/b\n"]
)
def test_a_yaml_file_stands_for_the_folder_that_it_names_and_for_its_images(tmp_path, shop, export, told):
    folder = export(
        {
            "mine/labels/a/1.txt": LINES,
            "mine/labels/b/2.txt": LINES,
            "other/labels/1.txt": f"{line(0, ROAD)}\n",
            "other/data.yaml": "names: [road]\n",
        }
    )
    for name in ("mine/images/a/1.jpg", "mine/images/b/2.jpg", "other/images/1.jpg"):
        picture(folder / name)
    yaml = folder / ("set.yaml" if "mine\n" in told and "{" not in told else "../set.yaml")
    yaml.write_text(told.format(folder) + NAMES)
    source = opened(yaml)
    assert set(splits(source)) == {"images/a/1", "images/b/2"}
    assert source.home == folder / "mine"
    shutil.rmtree(shop.root / "images")
    shop.prepare(yaml)
    assert set(shop.ids()) == {"mine/images/a/1", "mine/images/b/2"}


def test_labels_without_the_names_of_classes_beside_them_are_known_as_such(export, shop):
    with pytest.raises(InputError, match=r"labels: expected data\.yaml or classes\.txt with the names"):
        shop.prepare(export({"data.yaml": NAMES, "labels/a.txt": LINES}) / "labels")
