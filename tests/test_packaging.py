"""What pyproject.toml lists must be what the folders hold: a forgotten file would be missing from the wheel alone."""

import sys
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

import pytest

import semivl_cli

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = {
    "semivl_cli": ROOT / "semivl_cli",
    "semivl_plugins": ROOT / "plugins",
    "semivl_definitions": ROOT / "definitions",
}


def test_every_package_is_listed():
    found = {
        ".".join([name, *path.parent.relative_to(folder).parts])
        for name, folder in FOLDERS.items()
        for path in folder.rglob("__init__.py")
    }
    assert {name for name in found if "dev" not in name.split(".")} == set(PROJECT["tool"]["setuptools"]["packages"])


@pytest.mark.parametrize("package", FOLDERS)
def test_every_data_file_is_packaged_and_installed(package):
    patterns = PROJECT["tool"]["setuptools"]["package-data"][package]
    for path in FOLDERS[package].rglob("*"):
        if path.is_dir() or path.suffix in (".py", ".pyc"):
            continue
        relative = path.relative_to(FOLDERS[package]).as_posix()
        assert any(fnmatch(relative, pattern) and relative.count("/") == pattern.count("/") for pattern in patterns), (
            f"{package}/{relative} is in no pattern of package-data"
        )
        assert files(package).joinpath(relative).is_file(), f"{package}/{relative} is not installed"


def test_the_version_is_said_once():
    assert semivl_cli.__version__ == PROJECT["project"]["version"]
