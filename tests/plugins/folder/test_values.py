import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.errors import InputError


def mapped(tree, content, values, dtype=np.uint8):
    (tree / "dataset.toml").write_text(content)
    Image.new("L", (4, 4)).save(tree / "images" / "one-at-least.png")
    folder = Folder()
    list(folder.records(tree, "train"))
    return folder.class_ids(np.array([values], dtype))[0].tolist()


@pytest.mark.parametrize(
    ("content", "values", "expected"),
    [
        ("", [0, 7, 253, 255], [0, 7, 253, 255]),
        ("values = { 0 = 0, 255 = 1 }", [0, 255, 7], [0, 1, 254]),
        ("values = [1, 0]", [0, 1, 255, 2], [1, 0, 255, 254]),
        ("[values]\n26 = 0\n24 = 1\n1000 = 2", [26, 24, 255, 0], [0, 1, 255, 254]),
        ("values = { 5 = 1 }\nbackground = 0", [5, 0, 9, 255], [1, 0, 0, 255]),
        ("values = { 5 = 1 }\nbackground = 0\nignore = []", [5, 255], [1, 0]),
        ("values = { 1 = 0 }\nignore = [0, 255]", [0, 1, 255], [255, 0, 255]),
        ("ignore = [0]", [0, 1, 255], [255, 1, 254]),
    ],
)
def test_dataset_toml_gives_raw_values_their_meaning(tree, content, values, expected):
    assert mapped(tree, content, values) == expected


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint16, ">u2"])
def test_values_of_any_width_are_looked_up(tree, dtype):
    assert mapped(tree, "values = { 1000 = 2, 0 = 0 }", [1000, 0, 44], dtype) == [2, 0, 254]


def test_values_beyond_the_table_are_unknown(tree):
    assert mapped(tree, "values = { 0 = 0 }", [-1, 70_000, 65_536], np.int64) == [254] * 3


@given(st.dictionaries(st.integers(0, 65_535), st.integers(0, 253), max_size=20))
def test_every_table_is_followed(tmp_path_factory, table):
    folder = tmp_path_factory.mktemp("d")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    pairs = ", ".join(f"{raw} = {number}" for raw, number in table.items())
    raw = [*table, *({3, 60_000} - set(table))]
    expected = [table.get(value, 254) for value in raw]
    assert mapped(folder, f"values = {{ {pairs} }}\nignore = []", raw, np.uint16) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("value = [0]", "unknown key 'value': did you mean 'values'"),
        ("values = 3", "expected raw values and class ids"),
        ("values = { 0 = 255 }", "expected a raw value 0..65535, a label or a colour, and a class id 0..253"),
        ("values = { 0 = true }", "class id"),
        ("values = { 70000 = 0 }", "expected a raw value"),
        ("ignore = 255", "expected a list of raw mask values"),
        ("values = { 255 = 1 }\nignore = [255]", "255 is both in values and in ignore"),
        ("values = { car = 1 }\nignore = ['car']", "'car' is both in values and in ignore"),
        ("values = { 1 = 1 }\nbackground = 255", "expected a class id"),
        ("values = { -1 = 0 }", "'-1' is neither a raw value 0..65535 nor a colour such as"),
        ("ignore = ['#12345']", "'#12345' is neither a raw value"),
        ("values = {", "dataset.toml"),
        ("values = { 99999999999 = 0 }", "'99999999999' is neither a raw value 0..65535 nor a colour"),
        (f"values = {{ {'9' * 5000} = 0 }}", "is neither a raw value 0..65535 nor a colour"),
        (f"background = {'9' * 5000}", "a number has thousands of digits"),
        (f"values = {'[' * 5000}", r"dataset\.toml is not valid TOML: it is nested without end"),
        ("values = [[0]]", "class id"),
        ("orientation = 'left'", 'expected "shown" or "stored"'),
        ("orientation = [1]", 'expected "shown" or "stored"'),
        ("mask_suffix = 3", "mask_suffix = 3: expected the end of a name"),
        ("ignore = [[0]]", "expected a list of raw mask values"),
    ],
)
def test_a_dataset_toml_that_cannot_be_followed_is_one_line(tree, content, message):
    with pytest.raises(InputError, match=message) as caught:
        mapped(tree, content, [0])
    assert "\n" not in str(caught.value)


def test_a_dataset_toml_that_is_no_file_is_not_passed_over(tree):
    (tree / "dataset.toml").mkdir()
    with pytest.raises(InputError, match=r"dataset\.toml: the file cannot be read \(Is a directory\)"):
        list(Folder().records(tree, "train"))


def test_a_range_of_brightness_is_told_whatever_the_masks_are(tree):
    def told(content):
        mapped(tree, content, [0])
        folder = Folder()
        list(folder.records(tree, "train"))
        return folder.value_range

    assert told("") is None
    assert told("value_range = [0, 4095]") == (0, 4095)
    assert told("value_range = [-1024.0, 3071]") == (-1024, 3071)
    for wrong in ("[1]", "[4, 3]", "[3, 3]", '["0", 1]', "4095", "[0, inf]", "[nan, 1]", "[true, 7]", "{ a = 1 }"):
        with pytest.raises(InputError, match=r"dataset\.toml: value_range = .*such as \[0, 4095\]"):
            told(f"value_range = {wrong}")
