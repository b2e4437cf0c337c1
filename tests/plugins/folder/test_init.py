import os

import numpy as np
import pytest
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.errors import InputError


def test_another_place_is_told_what_was_expected(tree):
    with pytest.raises(InputError, match=r"expected a folder with images/ and masks/ there, but images/ is absent"):
        list(Folder().records(tree / "images", "train"))


def test_a_training_reads_the_index_until_a_folder_changes(root, monkeypatch, look):
    look(root)
    assert "day2/x" not in {record.id for record in Folder().records(root, "train")}
    with monkeypatch.context() as patch:
        patch.setattr("semivl_plugins.folder.listing.os.scandir", lambda _: pytest.fail("the folders were walked"))
        assert len(list(Folder().records(root, "train"))) == 7
    (root / "images/day2").mkdir()
    os.link(root / "images/7.jpg", root / "images/day2/x.jpg")
    folder = Folder()
    assert "day2/x" in {record.id for record in folder.records(root, "train")}
    assert any("the index is not used" in note and "images is newer" in note for note in folder.notes)
    look(root)
    (root / "masks/day2").mkdir()
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(root / "masks/day2/x.png")
    assert "day2/x" in {record.id for record in Folder().records(root, "train") if record.label}


def test_converted_masks_that_are_out_of_date_are_refused(root, look):
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(root / "masks/0.png")
    look(root)
    assert len(list(Folder().records(root, "train"))) == 7
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(root / "masks/6.png")
    with pytest.raises(InputError, match=r"masks is not as it was .* run `semivl prepare data folder"):
        list(Folder().records(root, "train"))
