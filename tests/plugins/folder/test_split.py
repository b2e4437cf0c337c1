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
