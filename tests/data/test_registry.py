import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints, entry_points

import pytest

from semivl_cli.concepts.load import load_definition
from semivl_cli.data import registry
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
