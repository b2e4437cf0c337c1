import os
import zipfile

import pytest

from semivl_cli.data.annotation.tree import Tree
from semivl_cli.errors import InputError
from semivl_cli.files import bare


@pytest.fixture(params=["folder", "archive"])
def tree(tmp_path, request):
    """`a.txt`, `day1/B.PNG`, `day1/deep/c.json`, in a folder or an archive."""
    files = {"a.txt": b"\xef\xbb\xbfone", "day1/B.PNG": b"", "day1/deep/c.json": b"[1]"}
    if request.param == "folder":
        for name, content in files.items():
            (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "x" / name).write_bytes(content)
        return Tree.open(tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return Tree.open(tmp_path / "x.zip")


def test_a_folder_and_an_archive_are_read_alike(tree):
    files = dict(tree.files())
    assert list(files) == ["a.txt", "day1/B.PNG", "day1/deep/c.json"]
    assert files["a.txt"].text() == "one"
    assert files["day1/deep/c.json"].json() == [1]
    assert [file.is_picture for file in files.values()] == [False, True, False]
    assert [file.suffix for file in files.values()] == [".txt", ".png", ".json"]
    assert len({file.stamp for file in files.values()}) == 3
    assert not tree.is_file
    assert [name for name, _ in tree.below("day1").files()] == ["B.PNG", "deep/c.json"]
    assert [name for name, _ in files["a.txt"].files()] == ["a.txt"]


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.json")
    with pytest.raises(InputError, match="expected a file that can be read, not a pipe"):
        Tree(tmp_path / "x.json").json()


def test_a_name_ends_where_the_suffix_of_a_picture_begins():
    assert [bare(name) for name in ("a.v2.JPG", "a.v2", "day.1/a.tif")] == ["a.v2", "a.v2", "day.1/a"]
