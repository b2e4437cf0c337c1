import unicodedata

import pytest
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.data.choose.splits import find_labeled
from semivl_cli.errors import InputError


def ids(tree, split):
    return [record.id for record in Folder().records(tree, split)]


def test_lists_are_taken_as_they_are(tree):
    (tree / "train.txt").write_bytes(b"c\r\n\r\nimages/day1/e.jpg\r\nf.jpg\r\n")
    (tree / "val.txt").write_text("a\nb\n")
    assert ids(tree, "train") == ["c", "day1/e", "f"]
    assert ids(tree, "val") == ["a", "b"]


@pytest.mark.parametrize(("disk", "list_"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_of_a_list_may_be_composed_otherwise_than_on_the_disk(tree, disk, list_):
    name = unicodedata.normalize(disk, "day1/\u00dcbung")
    for folder in ("images", "masks"):
        Image.new("L", (4, 4)).save(tree / folder / f"{name}.png")
    (tree / "val.txt").write_text(unicodedata.normalize(list_, f"{name}.png\na\n"), encoding="utf-8")
    assert ids(tree, "val") == [name, "a"]
    assert name not in ids(tree, "train")
    records = list(Folder().records(tree, "val"))
    assert find_labeled(records, (unicodedata.normalize(list_, name),), "x")[0] == (records[0],)


def test_what_a_list_names_and_is_not_there_counts_as_missing(tree):
    (tree / "val.txt").write_text("f\ngone\n")
    no_mask, gone = Folder().records(tree, "val")
    assert no_mask.image.is_file()
    assert not no_mask.label.exists()
    assert not gone.image.exists()


def test_without_val_list_a_tenth_of_the_masks_is_held_out_and_told(tree):
    for number in range(30):
        for folder in ("images", "masks"):
            Image.new("L", (4, 4)).save(tree / folder / f"n{number}.png")
    folder = Folder()
    val = [record.id for record in folder.records(tree, "val")]
    assert len(val) == 4  # of 35
    assert folder.notes == ("4 of the 35 masks are validation: no val.txt",)
    assert not set(val) & set(ids(tree, "train"))
    assert len(ids(tree, "train")) == 36 - 4
    assert ids(tree, "val") == val
    Image.new("L", (4, 4)).save(tree / "images" / "unlabelled.png")
    assert ids(tree, "val") == val  # images without masks do not move it


def test_at_least_one_image_is_held_out_and_one_is_left(tree):
    assert len(ids(tree, "val")) == 1
    for name in ("a", "b", "c", "d"):
        (tree / "masks" / f"{name}.png").unlink()
    with pytest.raises(InputError, match="only 'day1/e' has a mask"):
        ids(tree, "train")


def test_masks_without_image_are_told(tree):
    (tree / "images" / "a.jpg").unlink()
    folder = Folder()
    list(folder.records(tree, "train"))
    assert "1 mask has no image, for example 'a'" in folder.notes
    orphan = next(record for record in folder.records(tree, "train") if record.id == "a")
    assert not orphan.image.exists()  # so that it counts as missing


def test_folders_of_an_export_are_its_split(tmp_path):
    for split, numbers in (("train", range(6)), ("valid", range(6, 8)), ("test", range(8, 10))):
        for number in numbers:
            for folder, suffix in (("images", "jpg"), ("masks", "png")):
                path = tmp_path / folder / split / f"{number}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (4, 4)).save(path)
    folder = Folder()
    assert [record.id for record in folder.records(tmp_path, "val")] == ["valid/6", "valid/7"]
    assert len(ids(tmp_path, "train")) == 6
    assert folder.notes == (
        "2 images are a test set by their folder or their export: left out",
        "2 of the 8 masks are validation: by their folder or their export",
    )
    (tmp_path / "val.txt").write_text("train/0\n")  # what the user says rules
    assert ids(tmp_path, "val") == ["train/0"]
    assert len(ids(tmp_path, "train")) == 9


@pytest.mark.parametrize("split", ["test", "val2017"])
def test_a_split_that_leaves_nothing_to_train_with_is_told_and_not_kept(tmp_path, split):
    for number in range(4):
        for folder in ("images", "masks"):
            path = tmp_path / folder / split / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4)).save(path)
    folder = Folder()
    assert len(list(folder.records(tmp_path, "val"))) == 1
    assert len(ids(tmp_path, "train")) == 3
    assert any("all masks are for validation or a test: they are divided anew" in note for note in folder.notes)


def test_files_that_are_not_read_are_counted_where_there_is_nothing_else(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for name in ("a.heic", "b.HEIC", "c.dng"):
        (tmp_path / "images" / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"holds no image that is read, 2 \.heic, 1 \.dng"):
        ids(tmp_path, "train")


def test_files_that_are_not_read_are_counted_beside_images(tree):
    for name in ("x.heic", "y.heic", "notes.txt"):
        (tree / "images" / name).write_bytes(b"")
    folder = Folder()
    list(folder.records(tree, "train"))
    assert f"{tree}/images holds files that are not read: 2 .heic, 1 .txt" in folder.notes


def test_folders_of_an_export_that_are_given_one_by_one_are_its_split(tmp_path):
    table = "Pixel Value, Class\n0, background\n1, road\n"
    for split in ("train", "valid", "test"):
        folder = tmp_path / "export" / split
        folder.mkdir(parents=True)
        (folder / "_classes.csv").write_text(table)
        Image.effect_noise((8, 8), 90).save(folder / f"{split}.jpg")
        Image.new("L", (8, 8), 1).save(folder / f"{split}_mask.png")
    folder = Folder()
    root = tmp_path / "root"
    root.mkdir()
    sources = [tmp_path / "export" / split for split in ("train", "valid", "test")]
    folder.prepare(root, sources, (("background", (0, 0, 0)), ("road", (128, 64, 128))), False, print)
    assert ids(root, "train") == ["train/train"]
    assert ids(root, "val") == ["valid/valid"]
