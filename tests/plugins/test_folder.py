import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.errors import InputError


@pytest.fixture
def root(tmp_path):
    """Six images, five masks, one image and mask in a sub-folder."""
    for name in ("a", "b", "c", "d", "day1/e", "f"):
        for folder, suffix in (("images", "jpg"), ("masks", "png")):
            path = tmp_path / folder / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if (folder, name) != ("masks", "f"):
                Image.new("L", (4, 4)).save(path)
    return tmp_path


def ids(root, split):
    return [record.id for record in Folder().records(root, split)]


def test_ids_are_paths_without_suffix_and_masks_have_the_same_stem(root):
    (root / "val.txt").write_text("a\n")
    records = {record.id: record for record in Folder().records(root, "train")}
    assert list(records) == ["b", "c", "d", "f", "day1/e"]
    assert records["day1/e"].image == root / "images" / "day1" / "e.jpg"
    assert records["day1/e"].label == root / "masks" / "day1" / "e.png"
    assert records["f"].label is None


def test_files_that_are_no_images_are_passed_over(root):
    for name in (".DS_Store", "._a.jpg", "Thumbs.db", "notes.txt"):
        (root / "images" / name).touch()
    (root / "images" / ".cache").mkdir()
    (root / "images" / ".cache" / "x.jpg").touch()
    assert set(ids(root, "train")) | set(ids(root, "val")) == {"a", "b", "c", "d", "day1/e", "f"}


def test_capital_suffixes_and_dots_in_names_are_fine(root):
    for folder in ("images", "masks"):
        Image.new("L", (4, 4)).save(root / folder / "frame.001.PNG")
    (root / "val.txt").write_text("frame.001\n")
    (record,) = Folder().records(root, "val")
    assert record.label == root / "masks" / "frame.001.PNG"


def test_linked_folders_count(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    Image.new("L", (4, 4)).save(elsewhere / "g.png")
    (root / "images" / "linked").symlink_to(elsewhere)
    assert "linked/g" in ids(root, "train")


def test_a_link_to_a_folder_above_is_said_and_not_followed(root):
    (root / "images" / "day1" / "up").symlink_to(root / "images")
    (root / "images" / "root").symlink_to(root)
    plugin = Folder()
    assert {record.id for record in plugin.records(root, "train")} <= {"a", "b", "c", "d", "day1/e", "f"}
    assert [note for note in plugin.notes if "not followed" in note] == [
        f"{root / 'images' / name} links to a folder above it: not followed" for name in ("root", "day1/up")
    ]


def test_lists_are_taken_as_they_are(root):
    (root / "train.txt").write_bytes(b"c\r\n\r\nimages/day1/e.jpg\r\nf.jpg\r\n")
    (root / "val.txt").write_text("a\nb\n")
    assert ids(root, "train") == ["c", "day1/e", "f"]
    assert ids(root, "val") == ["a", "b"]


def test_what_a_list_names_and_is_not_there_counts_as_missing(root):
    (root / "val.txt").write_text("f\ngone\n")
    no_mask, gone = Folder().records(root, "val")
    assert no_mask.image.is_file()
    assert not no_mask.label.exists()
    assert not gone.image.exists()


def test_without_val_list_a_tenth_of_the_masks_is_held_out_and_told(root):
    for number in range(30):
        for folder in ("images", "masks"):
            Image.new("L", (4, 4)).save(root / folder / f"n{number}.png")
    folder = Folder()
    val = [record.id for record in folder.records(root, "val")]
    assert len(val) == 4  # of 35
    assert folder.notes == ("4 of the 35 masks are validation: no val.txt",)
    assert not set(val) & set(ids(root, "train"))
    assert len(ids(root, "train")) == 36 - 4
    assert ids(root, "val") == val
    Image.new("L", (4, 4)).save(root / "images" / "unlabelled.png")
    assert ids(root, "val") == val  # images without masks do not move it


def test_at_least_one_image_is_held_out_and_one_is_left(root):
    assert len(ids(root, "val")) == 1
    for name in ("a", "b", "c", "d"):
        (root / "masks" / f"{name}.png").unlink()
    with pytest.raises(InputError, match="only 'day1/e' has a mask"):
        ids(root, "train")


def test_masks_without_image_are_told(root):
    (root / "images" / "a.jpg").unlink()
    folder = Folder()
    list(folder.records(root, "train"))
    assert "1 mask has no image, for example 'a'" in folder.notes
    orphan = next(record for record in folder.records(root, "train") if record.id == "a")
    assert not orphan.image.exists()  # so that it counts as missing


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_two_files_of_one_stem_are_refused(root, folder):
    Image.new("L", (4, 4)).save(root / folder / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: a\.\w+ beside it has the same stem"):
        ids(root, "train")


def test_another_place_is_told_what_was_expected(root):
    with pytest.raises(InputError, match=r"expected a folder with images/ and masks/ there, but images/ is absent"):
        ids(root / "images", "train")


def mapped(root, content, values, dtype=np.uint8):
    (root / "dataset.toml").write_text(content)
    Image.new("L", (4, 4)).save(root / "images" / "one-at-least.png")
    folder = Folder()
    list(folder.records(root, "train"))
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
def test_dataset_toml_gives_raw_values_their_meaning(root, content, values, expected):
    assert mapped(root, content, values) == expected


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint16, ">u2"])
def test_values_of_any_width_are_looked_up(root, dtype):
    assert mapped(root, "values = { 1000 = 2, 0 = 0 }", [1000, 0, 44], dtype) == [2, 0, 254]


def test_values_beyond_the_table_are_unknown(root):
    assert mapped(root, "values = { 0 = 0 }", [-1, 70_000, 65_536], np.int64) == [254] * 3


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
    ],
)
def test_a_dataset_toml_that_cannot_be_followed_is_one_line(root, content, message):
    with pytest.raises(InputError, match=message) as caught:
        mapped(root, content, [0])
    assert "\n" not in str(caught.value)


def test_a_dataset_toml_that_is_no_file_is_not_passed_over(root):
    (root / "dataset.toml").mkdir()
    with pytest.raises(InputError, match=r"dataset\.toml: cannot be read \(Is a directory\): expected a file"):
        list(Folder().records(root, "train"))
