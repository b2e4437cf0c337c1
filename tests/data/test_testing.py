from functools import partial
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest
from semivl_plugins.folder import Folder
from semivl_plugins.shapes import Shapes

from semivl_cli.data import registry, testing
from semivl_cli.data.contract import Record
from semivl_cli.data.testing import check_dataset


def pixels(height=4):
    return np.zeros((height, 5, 3), np.uint8)


def raw(value=0):
    return np.full((4, 5), value, np.int32)


class Sound:
    name, definition, recipe = "sound", "shapes", "tiny"

    def records(self, root, split):
        return [Record(id=f"{split}{number}", image=pixels, label=raw) for number in range(2)]

    def class_ids(self, raw):
        return raw.astype(np.uint8)


def test_sound_plugins_pass(world):
    check_dataset(Sound(), world.root)
    check_dataset(Folder(), world.root)
    check_dataset(Shapes(), world.root)


class Nameless(Sound):
    name = ""


class Wordless(Sound):
    definition = "no-such"


class Unread(Sound):
    definition = "absent.toml"


class Undone(Sound):
    recipe = "no-such"


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


class Numbered(Sound):
    def records(self, root, split):
        return [Record(id=7, image=pixels, label=raw)]


class Named(Sound):
    def records(self, root, split):
        return [Record(id=split, image="image.png", label=raw)]


class Local(Sound):
    def records(self, root, split):
        return [Record(id=split, image=lambda: pixels(4), label=raw)]


class Holding(Sound):
    def __init__(self):
        self.read = lambda: None


class Gray(Sound):
    def records(self, root, split):
        return [Record(id=split, image=raw, label=raw)]


class Absent(Sound):
    def records(self, root, split):
        return [Record(id=split, image=root / "absent.png", label=raw)]


class Tall(Sound):
    def records(self, root, split):
        return [Record(id=split, image=partial(pixels, 8), label=raw)]


class Wide(Sound):
    def class_ids(self, raw):
        return raw


class Outside(Sound):
    def records(self, root, split):
        return [Record(id=split, image=pixels, label=partial(raw, 6))]


class Spoiling(Sound):
    def class_ids(self, raw):
        raw += 1
        return np.zeros(raw.shape, np.uint8)


class Bare(Sound):
    def records(self, root, split):
        return [Record(id=split, image=pixels, label=raw if split == "val" else None)]


class Untested(Sound):
    def records(self, root, split):
        return [Record(id=split, image=pixels, label=raw if split == "train" else None)]


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Nameless, "name must not be empty"),
        (Wordless, "definition: no such definition or file: 'no-such'"),
        (Unread, r"definition: the plugin of dataset 'sound' holds no file 'absent\.toml'"),
        (Undone, "recipe: unknown recipe 'no-such'"),
        (Empty, "is empty"),
        (Overlapping, "both train and val"),
        (Twice, "repeat"),
        (Restless, "another order"),
        (Numbered, r"records\(root, 'train'\) gave the id 7"),
        (Named, r"train: 'image\.png' is neither a Path, a TarEntry nor a function"),
        (Local, "train: its functions cannot be pickled"),
        (Holding, "the dataset cannot be pickled"),
        (Gray, r"expected uint8 \[H, W, 3\]"),
        (Absent, r"train: .*absent\.png: no such file"),
        (Tall, r"the mask is 5 x 4 pixels .*its image as shown is 5 x 8"),
        (Wide, "class_ids gave int32"),
        (Outside, r"train: the raw value 6 became 6, but the definition has the classes 0\.\.5"),
        (Spoiling, "class_ids changed the raw values"),
        (Bare, "no record of train has a label"),
        (Untested, r"validation images without a label: \['val'\]"),
    ],
)
def test_what_breaks_the_contract_is_named_in_one_sentence(plugin, message, tmp_path):
    with pytest.raises(AssertionError, match=message) as caught:
        check_dataset(plugin(), tmp_path)
    assert "\n" not in str(caught.value).partition("assert ")[0].rstrip("\n")


def test_an_entry_point_of_another_name_is_named(tmp_path, monkeypatch):
    entry = EntryPoint("other", f"{Sound.__module__}:Sound", registry.GROUP)
    monkeypatch.setattr(testing, "entry_points", lambda group: EntryPoints([entry]).select(group=group))
    with pytest.raises(AssertionError, match="its entry point is called 'other', but its name is 'sound'"):
        check_dataset(Sound(), tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"labeled-2.txt": "train0\n"}, r"splits/labeled-2\.txt lists 1 ids"),
        ({"labeled-1.txt": "val0\n"}, r"splits: .*1 of 1 ids are no training image, the first is 'val0'"),
        ({"labeled-2.txt": "train0\ntrain0\n"}, r"splits: .*1 ids are listed twice"),
        ({"labeled-few.txt": "train0\n"}, "expected the number of its ids in its name"),
        ({"fractions.toml": '"1/2" = 1\n'}, r"fractions\.toml: 1/2 means 1 labels, without a list of so many"),
        ({"fractions.toml": "half = 1\n"}, r"fractions\.toml: expected lines such as \"1/8\" = 372"),
        ({"fractions.toml": '"1/0" = 1\n'}, r"fractions\.toml: expected lines such as"),
        ({"fractions.toml": '"1/2" = ' + "9" * 5000}, r"fractions\.toml: expected lines such as"),
        ({"fractions.toml": "a = " + "[" * 5000}, r"fractions\.toml: expected lines such as"),
        ({"fractions.toml": '"1/2" = 1\n', "labeled-1.txt": "train1\n"}, None),
    ],
)
def test_lists_of_labels_are_what_their_names_promise(files, message, tmp_path, monkeypatch):
    (tmp_path / "splits").mkdir()
    for name, content in files.items():
        (tmp_path / "splits" / name).write_text(content)
    monkeypatch.setattr(registry, "_package_folder", lambda dataset: tmp_path)
    if message is None:
        return check_dataset(Sound(), tmp_path)
    with pytest.raises(AssertionError, match=message):
        check_dataset(Sound(), tmp_path)
    return None
