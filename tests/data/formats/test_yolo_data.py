import pytest

from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.yolo_data import (
    DataYaml,
    is_class_list,
    names_by_number,
    names_in_list,
    read_data_yaml,
    splits_of,
    tells_names,
)
from semivl_cli.errors import InputError


@pytest.fixture
def file(tmp_path):
    """Writes a file of a data set."""

    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return Tree(path)

    return write


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [car, 7, 2024-01-01]", {0: "car", 1: "7", 2: "2024-01-01"}),
        ("names: {1: bus, 0: car}\nnc: 2", {0: "car", 1: "bus"}),
        ("names: {'0': car, 5: bus}", {0: "car", 5: "bus"}),
    ],
)
def test_names_have_numbers(file, text, names):
    data = file("data.yaml", text)
    assert list(names_by_number(read_data_yaml(data), data).items()) == list(names.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a, b]\nnc: 3", "nc says 3 classes, names has 2"),
        ("names: [a]\nkpt_shape: [17, 3]", "kpt_shape says that its labels are key points"),
        ("names: {0: a, '0': b}", "two entries for the class 0"),
        ("names: {x: a}", "the key 'x': expected the number of a class"),
        (f"names: {{'{'9' * 500}': a}}", "expected the number of a class"),
        ("names: [on, off]", r"names.*\[0\]: expected .* got True"),
        ("names: [[a]]", r"names.*\[0\]: expected .* got a list"),
        ("names: 7", "names: expected"),
        ("names: [a", "not YAML"),
        ("train: images", "expected an entry with names"),
    ],
)
def test_what_is_wrong_with_names_is_told(file, text, message):
    data = file("data.yaml", text)
    with pytest.raises(InputError, match=message):
        names_by_number(read_data_yaml(data), data)


def test_lists_of_classes_have_a_line_each_and_gaps(file):
    assert names_in_list(file("obj.names", "\ufeffcar\r\n\r\nbus \n")) == {0: "car", 2: "bus"}
    assert is_class_list(file("Classes.txt", ""))
    assert is_class_list(file("_darknet.labels", ""))
    assert not is_class_list(file("class_7.txt", ""))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("any.yaml", "names: [a]", True),
        ("any.yaml", "lr: 0.1", False),
        ("any.yaml", "[names]", False),
        ("any.yaml", "{", False),
        ("data.yaml", "{", True),
    ],
)
def test_yaml_of_other_things_tells_no_names(file, name, text, told):
    assert tells_names(file(name, text)) == told


def told(images, data, lists=None):
    return splits_of(images, [(base, DataYaml(names=["a"], **keys)) for base, keys in data], lists or {})


@pytest.mark.parametrize(
    ("base", "keys", "expected"),
    [
        ("", {"train": "images", "val": "images"}, {}),
        ("", {"train": "../train/images", "val": "../valid/images"},
         {"train/images/a": "train", "valid/images/b": "val"}),
        ("", {"path": "/data/ds", "train": ["images/one", "images/two"], "val": "images/three/"},
         {"images/one/a": "train", "images/two/b": "train", "images/three/c": "val"}),
        ("", {"train": "/data/ds/images/train", "val": r"C:\ds\images\val"},
         {"images/train/a": "train", "images/val/a": "val"}),
        ("ds", {"path": "ds", "train": "images/train", "test": "images/test"},
         {"ds/images/train/a": "train", "ds/images/test/b": "test"}),
    ],
)  # fmt: skip
def test_folders_that_yaml_tells_are_splits(base, keys, expected):
    images = [*expected, *(["images/x"] if not expected else [])]
    assert told(images, [(base, keys)]) == expected


def test_lists_that_yaml_tells_are_splits():
    lists = {
        "autosplit_train.txt": ["./images/a.jpg"],
        "autosplit_val.txt": ["data/images/b.jpg"],
        "test.txt": ["images/a.jpg"],
    }
    keys = {"train": "autosplit_train.txt", "val": "autosplit_val.txt"}
    assert told(["images/a", "images/b", "images/c"], [("", keys)], lists) == {"images/a": "train", "images/b": "val"}


def test_without_yaml_lists_tell_and_without_lists_folders_do():
    images = ["obj_train_data/a", "obj_valid_data/b"]
    lists = {"train.txt": ["data/obj_valid_data/b.png"], "notes.txt": ["a.png"]}
    assert told(images, [], lists) == {"obj_valid_data/b": "train"}
    assert told(images, []) == {"obj_train_data/a": "train", "obj_valid_data/b": "val"}
    assert told(["images/a"], []) == {}
