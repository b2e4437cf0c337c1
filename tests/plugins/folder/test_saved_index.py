import json
import os

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.errors import InputError


def test_a_root_that_cannot_be_written_has_its_index_in_the_cache(root, look):
    (root / "prepared").write_text("in the way")  # root reads past permissions, and not past this
    _, notes = look(root)
    assert "cannot be written: index and conversions go to" in notes
    assert (root / "prepared").read_text() == "in the way"
    assert len(list(Folder().records(root, "train"))) == 7


def test_a_broken_index_says_what_renews_it(root, look):
    look(root)
    (root / "prepared/index.jsonl").write_text("{")
    with pytest.raises(InputError, match=r"the index cannot be read .* writes it anew"):
        list(Folder().records(root, "train"))
    look(root)
    assert len(list(Folder().records(root, "train"))) == 7


def cut(lines):
    lines[-1] = lines[-1][:20]


def without_the_last_image(lines):
    del lines[-1]


def wider(lines):
    lines[2] = lines[2].replace("]", ", 7]")


def not_utf8(lines):
    lines[1] = "\udcff" + lines[1]


def nested(lines):
    lines[1] = "[" * 100_000


def other_split(lines):
    lines[1] = lines[1].replace("train", "test")


@pytest.mark.parametrize("damage", [cut, without_the_last_image, wider, not_utf8, nested, other_split])
def test_a_damaged_line_of_the_index_says_what_renews_it(root, look, damage):
    look(root)
    path = root / "prepared/index.jsonl"
    lines = path.read_text().splitlines()
    damage(lines)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"index\.jsonl: the index cannot be read \(.*`.*` writes it anew") as refused:
        [list(Folder().records(root, split)) for split in ("train", "val")]
    assert len(str(refused.value)) < 600
    look(root)
    assert len(list(Folder().records(root, "train"))) == 7


@pytest.mark.parametrize(
    "header",
    ['{"version": 1}', '{"version": "1"}', "[]", '{"version": 1, "root": 7}', "{" * 9999, ""],
)
def test_a_damaged_first_line_of_the_index_is_one_line(root, look, header):
    look(root)
    path = root / "prepared/index.jsonl"
    path.write_text("\n".join([header, *path.read_text().splitlines()[1:]]))
    with pytest.raises(InputError, match=r"index\.jsonl: the index cannot be read"):
        list(Folder().records(root, "train"))


def test_an_index_of_an_earlier_version_is_read(root, look):
    look(root)
    path = root / "prepared/index.jsonl"
    header, *lines = path.read_text().splitlines()
    before = {key: value for key, value in json.loads(header).items() if key not in ("rows", "options")}
    path.write_text("\n".join([json.dumps(before), *lines]))
    assert len(list(Folder().records(root, "train"))) == 7


def test_an_id_that_no_file_can_have_counts_as_missing(root, look):
    (root / "val.txt").write_text("5\n" + "a" * 400 + "\n")
    problems, _ = look(root)
    assert "files missing" in problems


def test_names_that_are_no_text_are_kept(root, look):
    name = os.fsdecode(b"\xff\xfe 7")
    (root / "images/7.jpg").rename(root / "images" / f"{name}.jpg")
    look(root)
    assert name in {record.id for record in Folder().records(root, "train")}


def test_one_process_prepares_a_root_at_a_time(root, look):
    look(root)
    with FileLock(root / "prepared/.lock"), pytest.raises(InputError, match="is being prepared by another process"):
        look(root)


def test_a_killed_conversion_leaves_nothing_half_written_behind_its_repeat(root, look):
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(root / "masks/0.png")
    (root / "prepared/masks").mkdir(parents=True)
    for folder in ("prepared", "prepared/masks"):
        (root / folder / ".0123456789abcdef.part").write_text("half")
    look(root)
    assert not list(root.rglob("*.part"))


def test_the_split_is_written_beside_the_index(root, look):
    (root / "val.txt").unlink()
    look(root)
    assert (root / "prepared/val.txt").read_text().split() == [r.id for r in Folder().records(root, "val")]
    assert json.loads((root / "prepared/index.jsonl").read_text().splitlines()[0])["converted"] is False
