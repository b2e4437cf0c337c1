"""A run that goes on has the images that it began with, in their order, whatever happened to the dataset since."""

import json

import pytest
from semivl_plugins.folder import Folder

from semivl_cli.config import DataSettings
from semivl_cli.data.choose.index import build_index
from semivl_cli.documents import parse_json
from semivl_cli.errors import InputError
from semivl_cli.run_files import Split


def build(world, split=None, missing="refuse", **data):
    settings = DataSettings(labels=4, missing=missing, **data)
    return build_index(Folder(), world.root, settings, seed=0, class_names=world.names, split=split)


def kept(index):
    return parse_json(json.dumps(index.split()), Split, "split.json")


def parts(index):
    return [[record.id for record in records] for records in (index.labeled, index.unlabeled, index.val)]


@pytest.fixture
def drawn(world):
    """A folder without `val.txt`, of whose masks some validate by the number of all."""
    (world.root / "val.txt").unlink()
    return world


def test_images_and_masks_that_came_later_stay_out_and_change_no_turn(drawn):
    before = build(drawn)
    for number in range(10):
        drawn.add(f"a{number:02d}", mask=number % 2 == 0)  # before the others by name: another tenth of the masks
    for number in range(5):
        mask = drawn.root / "masks" / f"u{number}.png"
        mask.write_bytes((drawn.root / "masks" / "m00.png").read_bytes())
    assert parts(build(drawn)) != parts(before)
    after = build(drawn, kept(before))
    assert parts(after) == parts(before) and after.split() == before.split()
    [note] = [note for note in after.notes if "have come since" in note]
    assert note.startswith("10 images have come since the run began, such as 'a") and "--init" in note


def test_images_that_are_gone_are_named_or_left_out(drawn):
    before = build(drawn)
    labeled, unlabeled, val = parts(before)
    for name in (labeled[0], unlabeled[0], val[0]):
        for folder in ("images", "masks"):
            (drawn.root / folder / f"{name}.png").unlink(missing_ok=True)
    with pytest.raises(
        InputError, match=rf"3 of the images or masks .*the first is '{min(labeled[0], unlabeled[0], val[0])}'"
    ):
        build(drawn, kept(before))
    assert parts(build(drawn, kept(before), missing="skip")) == [labeled[1:], unlabeled[1:], val[1:]]


def test_a_mask_that_is_gone_is_missing(world):
    before = build(world)
    first = before.labeled[0].id
    (world.root / "masks" / f"{first}.png").unlink()
    with pytest.raises(InputError, match=f"1 of the images or masks .* are gone, the first is '{first}'"):
        build(world, kept(before))
    assert len(build(world, kept(before), missing="skip").labeled) == 3


def test_files_of_folders_beside_the_dataset_are_those_of_the_start(world, tmp_path):
    (tmp_path / "more").mkdir()
    images = sorted((world.root / "images").iterdir())
    for number, name in ((0, "p"), (1, "q")):
        (tmp_path / "more" / f"{name}.png").write_bytes(images[number].read_bytes())
    more = [str(tmp_path / "more")]
    before = build(world, unlabeled=more)
    (tmp_path / "more" / "a.png").write_bytes(images[2].read_bytes())
    after = build(world, kept(before), unlabeled=more)
    assert parts(after) == parts(before) and after.split() == before.split()
    assert "data.unlabeled: 1 images that came since the run began stay out, 0 are gone" in after.notes
    (tmp_path / "more" / "p.png").unlink()
    with pytest.raises(InputError, match=r"1 of the images that data.unlabeled gave .*p\.png"):
        build(world, kept(before), unlabeled=more)
    left = build(world, kept(before), "skip", unlabeled=more)
    assert [*parts(left)[1]] == [name for name in parts(before)[1] if not name.endswith("p.png")]


def test_a_run_of_earlier_versions_has_no_list(world):
    split = build(world).split()
    del split["unlabeled"]["ids"]
    world.add("w0", mask=False)
    assert "w0" in parts(build(world, parse_json(json.dumps(split), Split, "split.json")))[1]
