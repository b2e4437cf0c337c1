import os

import pytest
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.errors import InputError


def ids(tree, split):
    return [record.id for record in Folder().records(tree, split)]


def test_ids_are_paths_without_suffix_and_masks_have_the_same_stem(tree):
    (tree / "val.txt").write_text("a\n")
    records = {record.id: record for record in Folder().records(tree, "train")}
    assert list(records) == ["b", "c", "d", "f", "day1/e"]
    assert records["day1/e"].image == tree / "images" / "day1" / "e.jpg"
    assert records["day1/e"].label == tree / "masks" / "day1" / "e.png"
    assert records["f"].label is None


def test_files_that_are_no_images_are_passed_over(tree):
    for name in (".DS_Store", "._a.jpg", "Thumbs.db", "notes.txt"):
        (tree / "images" / name).touch()
    (tree / "images" / ".cache").mkdir()
    (tree / "images" / ".cache" / "x.jpg").touch()
    assert set(ids(tree, "train")) | set(ids(tree, "val")) == {"a", "b", "c", "d", "day1/e", "f"}


def test_capital_suffixes_and_dots_in_names_are_fine(tree):
    for folder in ("images", "masks"):
        Image.new("L", (4, 4)).save(tree / folder / "frame.001.PNG")
    (tree / "val.txt").write_text("frame.001\n")
    (record,) = Folder().records(tree, "val")
    assert record.label == tree / "masks" / "frame.001.PNG"


def test_linked_folders_count(tree, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    Image.new("L", (4, 4)).save(elsewhere / "g.png")
    (tree / "images" / "linked").symlink_to(elsewhere)
    assert "linked/g" in ids(tree, "train")


def test_a_link_to_a_folder_above_is_said_and_not_followed(tree):
    (tree / "images" / "day1" / "up").symlink_to(tree / "images")
    (tree / "images" / "tree").symlink_to(tree)
    plugin = Folder()
    assert {record.id for record in plugin.records(tree, "train")} <= {"a", "b", "c", "d", "day1/e", "f"}
    assert [note for note in plugin.notes if "not followed" in note] == [
        f"{tree / 'images' / name} links to a folder above it: not followed" for name in ("tree", "day1/up")
    ]


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_two_files_of_one_stem_are_refused(tree, folder):
    Image.new("L", (4, 4)).save(tree / folder / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: a\.\w+ beside it has the same stem"):
        ids(tree, "train")


def test_a_folder_with_the_name_of_an_image_is_told_and_looked_into(root, look):
    (root / "images/9.png").mkdir()
    problems, notes = look(root)
    assert problems == ""
    assert "images/9.png is a folder, not a picture" in notes


def test_folders_that_link_in_a_circle_end(root, look):
    (root / "images/again").symlink_to(root / "images")
    problems, notes = look(root)
    assert problems == ""
    assert "links to a folder above it: not followed" in notes


@pytest.mark.parametrize("name", ["straße 日本", "a b'\"c", "tab\there", "-rf", "über.jpg.old"])
def test_names_of_any_language_are_read_and_come_back_from_the_index(root, name, look):
    for folder, old in (("images", "0.jpg"), ("masks", "0.png")):
        (root / folder / old).rename(root / folder / f"{name}{old[1:]}")
    assert look(root)[0] == ""
    assert name in {record.id for record in Folder().records(root, "train") if record.label}


def test_names_that_are_no_text_are_read(root, look):
    for folder, old in (("images", "0.jpg"), ("masks", "0.png")):
        path = root / folder / old
        try:
            path.rename(path.with_name(os.fsdecode(b"\xff\xfe") + old))
        except OSError:
            pytest.skip("this file system takes text alone")
    assert look(root)[0] == ""
    assert os.fsdecode(b"\xff\xfe0") in {record.id for record in Folder().records(root, "train") if record.label}
