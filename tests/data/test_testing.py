import numpy as np
import pytest
from semivl_plugins.folder import Folder

from semivl_cli.data.contract import Record
from semivl_cli.data.testing import check_dataset


def pixels():
    return np.zeros((4, 5, 3), np.uint8)


def raw():
    return np.zeros((4, 5), np.int32)


class Sound:
    name, definition, recipe = "sound", "d", "r"

    def records(self, root, split):
        return [Record(id=f"{split}{number}", image=pixels, label=raw) for number in range(2)]

    def class_ids(self, raw):
        return raw.astype(np.uint8)


def test_sound_plugins_pass(world):
    check_dataset(Sound(), world.root)
    check_dataset(Folder(), world.root)


class Nameless(Sound):
    name = ""


class Empty(Sound):
    def records(self, root, split):
        return []


class Overlapping(Sound):
    def records(self, root, split):
        return super().records(root, "train")


class Twice(Sound):
    def records(self, root, split):
        return super().records(root, split) * 2


class Restless(Sound):
    calls = 0

    def records(self, root, split):
        self.calls += 1
        return super().records(root, split)[:: 1 if self.calls % 2 else -1]


class Gray(Sound):
    def records(self, root, split):
        return [Record(id=split, image=raw, label=raw)]


class Wide(Sound):
    def class_ids(self, raw):
        return raw


class Bare(Sound):
    def records(self, root, split):
        return [Record(id=split, image=pixels)]


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Nameless, "name must not be empty"),
        (Empty, "is empty"),
        (Overlapping, "both train and val"),
        (Twice, "repeat"),
        (Restless, "another order"),
        (Gray, r"expected uint8 \[H, W, 3\]"),
        (Wide, "class_ids gave int32"),
        (Bare, "no record has a label"),
    ],
)
def test_what_breaks_the_contract_is_named(plugin, message, tmp_path):
    with pytest.raises(AssertionError, match=message):
        check_dataset(plugin(), tmp_path)
