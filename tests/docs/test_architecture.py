"""docs/architecture.md says what stands in the house, and where the walks through it lead."""

import ast
import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_list_of_files_is_the_generated_one():
    spec = importlib.util.spec_from_file_location("list_files", ROOT / "docs" / "list_files.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.with_list(PAGE) == PAGE, "run: python docs/list_files.py"
    listed = len(re.findall(r"^\| `\w+\.py` \|", PAGE, re.MULTILINE))
    assert listed == sum(len([*(ROOT / name).rglob("*.py")]) for name in ("semivl_cli", "plugins", "definitions"))


def test_everything_that_the_walks_meet_is_there():
    met = re.findall(r"`([\w/]+\.py):([\w.]+)`", PAGE)
    assert len(met) > 20
    missing = [f"{file}:{name}" for file, name in met if not defines(ROOT / "semivl_cli" / file, name)]
    assert not missing


def test_every_room_can_be_held_in_the_head():
    one_file_a_kind = {"formats"}
    for folder in {path.parent for path in (ROOT / "semivl_cli").rglob("*.py")}:
        assert len([*folder.glob("*.py")]) <= 16 or folder.name in one_file_a_kind, f"{folder} wants rooms of its own"


def defines(file: Path, name: str) -> bool:
    """Whether a function, a class or, with a dot, a method of that name stands in the file."""
    if not file.is_file():
        return False
    body = ast.parse(file.read_text(encoding="utf-8")).body
    for part in name.split("."):
        found = [node for node in body if getattr(node, "name", None) == part]
        if not found:
            return False
        body = getattr(found[0], "body", [])
    return True
