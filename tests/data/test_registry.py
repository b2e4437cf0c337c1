import re
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints, entry_points

import numpy as np
import pytest

from semivl_cli.concepts.load import load_definition
from semivl_cli.data import registry
from semivl_cli.data.choose.index import list_records
from semivl_cli.data.contract import Record
from semivl_cli.data.read.images import read_pair
from semivl_cli.errors import InputError

SOUND = """
class Sound:
    name, definition, recipe = "sound", "classes.toml", "recipe.toml"
    def records(self, root, split): return []
    def class_ids(self, raw): return raw
class Half:
    name, definition, recipe = "half", "x", None
    def records(self, root, split): return []
class Needy(Sound):
    def __init__(self, root): ...
"""


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A sound plugin of a stranger beside four broken ones."""
    package = tmp_path / "stranger_plugin"
    (package / "splits").mkdir(parents=True)
    (package / "__init__.py").write_text(SOUND)
    (package / "splits" / "labeled-3.txt").write_text("a\nb\nc\n")
    (tmp_path / "stranger_single.py").write_text(SOUND)
    (tmp_path / "stranger_broken.py").write_text("raise RuntimeError('two\\nlines')")
    (tmp_path / "stranger_exits.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    places = {
        "sound": "stranger_plugin:Sound",
        "single": "stranger_single:Sound",
        "half": "stranger_plugin:Half",
        "needy": "stranger_plugin:Needy",
        "broken": "stranger_broken:Sound",
        "exits": "stranger_exits:Sound",
        "absent": "stranger_absent:Sound",
    }
    entries = EntryPoints(EntryPoint(name, place, registry.GROUP) for name, place in places.items())
    monkeypatch.setattr(registry, "entry_points", lambda group: entries.select(group=group))
    yield
    for module in [name for name in sys.modules if name.startswith("stranger_")]:
        del sys.modules[module]


def test_a_file_of_a_plugin_is_its_definition_whatever_is_shipped_by_that_name(plugins, tmp_path, monkeypatch):
    own = tmp_path / "stranger_plugin" / "voc.toml"
    own.write_text(
        'title = "Mine"\n[[class]]\nname = "a"\ncolor = "#100000"\n[[class]]\nname = "b"\ncolor = "#200000"\n'
    )
    dataset = registry.open_dataset("sound")
    monkeypatch.setattr(type(dataset), "definition", "voc.toml")
    assert registry.own_definition(dataset) == str(own)
    assert load_definition(registry.own_definition(dataset)).title == "Mine"
    monkeypatch.setattr(type(dataset), "definition", "voc")
    assert load_definition(registry.own_definition(dataset)).title == "Pascal VOC 2012"


def test_a_broken_plugin_spoils_no_other(plugins):
    reasons = registry.available()
    assert {name for name, reason in reasons.items() if reason is None} == {"sound", "single"}
    assert "it lacks recipe, class_ids" in reasons["half"]
    assert "TypeError" in reasons["needy"]
    assert reasons["broken"].endswith("RuntimeError: two lines")
    assert "SystemExit: 3" in reasons["exits"]
    assert "ModuleNotFoundError" in reasons["absent"]
    assert registry.open_dataset("sound").name == "sound"


def test_a_broken_plugin_is_told_when_it_is_asked_for(plugins):
    with pytest.raises(InputError, match=r"'broken' \(stranger_broken:Sound\) is broken: RuntimeError: two lines"):
        registry.open_dataset("broken")


def test_an_unknown_name_is_answered_with_the_nearest(plugins):
    with pytest.raises(InputError, match="'sounds': did you mean 'sound'\\? known are absent, broken"):
        registry.open_dataset("sounds")


def test_files_come_from_the_plugins_own_package(plugins):
    sound = registry.open_dataset("sound")
    assert registry.package_file(sound, "splits/labeled-3.txt").read_text() == "a\nb\nc\n"
    with pytest.raises(InputError, match=r"dataset 'sound' holds no file 'splits/none\.txt'"):
        registry.package_file(sound, "splits/none.txt")
    assert registry.find_package_file(registry.open_dataset("single"), "splits/labeled-3.txt") is None


def test_every_registered_dataset_opens_and_has_its_recipe():
    names = [entry.name for entry in entry_points(group=registry.GROUP)]
    assert names
    for name in names:
        dataset = registry.open_dataset(name)
        assert dataset.name == name
        if dataset.recipe.endswith(".toml"):
            assert registry.package_file(dataset, dataset.recipe).is_file()


def test_looking_for_plugins_stays_light():
    code = (
        "import sys; from semivl_cli.data.registry import open_dataset;"
        "[open_dataset(name) for name in ('voc', 'folder')];"
        "print([name for name in ('torch', 'cv2', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


class Failing:
    """A stranger's plugin that fails where it is told to."""

    name, definition, recipe = "failing", "", ""

    def __init__(self, where):
        self.where = where

    def records(self, root, split):
        yield Record(id=f"{split} first", image=self.image, label=self.label)
        if self.where == "records":
            raise KeyError("the second")

    def image(self):
        if self.where == "image":
            raise ValueError("no pixels")
        return np.zeros((4, 4, 3), np.float32 if self.where == "floats" else np.uint8)

    def label(self):
        if self.where == "label":
            raise OSError("no labels")
        return np.zeros((4, 4), np.uint8)

    def class_ids(self, raw):
        if self.where == "class_ids":
            raise IndexError("no such class")
        return None if self.where == "none" else raw[:2] if self.where == "part" else raw


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("records", "the plugin of dataset 'failing' failed, listing its train images: KeyError: 'the second' ("),
        ("image", "a plugin failed, rendering .*: ValueError: no pixels ("),
        ("floats", "a plugin failed, rendering .*: TypeError: expected uint8 [H, W, 3], got float32 [4, 4, 3] ("),
        ("label", "a plugin failed, rendering .*: OSError: no labels ("),
        (
            "class_ids",
            "the plugin of dataset 'failing' failed, telling .* of the mask of 'train first': IndexError: no such",
        ),
        ("none", "the plugin of dataset 'failing' failed, telling .* of the mask of 'train first': AttributeError: "),
        (
            "part",
            "the plugin of dataset 'failing' failed, telling .*: TypeError: expected uint8 [4, 4], got uint8 [2, 4]",
        ),
    ],
)
def test_what_fails_in_a_plugin_is_named_with_its_place_and_is_no_bug_of_ours(tmp_path, where, said):
    plugin = Failing(where)
    with pytest.raises(InputError, match="^" + re.escape(said).replace(r"\.\*", ".*")):
        for record in list_records(plugin, tmp_path)[0]:
            read_pair(record, plugin, ("a", "b"))
