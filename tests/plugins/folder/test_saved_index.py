import json

import pytest
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


def test_the_split_is_written_beside_the_index(root, look):
    (root / "val.txt").unlink()
    look(root)
    assert (root / "prepared/val.txt").read_text().split() == [r.id for r in Folder().records(root, "val")]
    assert json.loads((root / "prepared/index.jsonl").read_text().splitlines()[0])["converted"] is False
