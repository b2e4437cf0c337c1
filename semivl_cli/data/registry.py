"""Finds dataset plugins through their entry points, and files inside a plugin's own package."""

from __future__ import annotations

import difflib
import importlib.resources
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from semivl_cli.errors import InputError, SemiVLError

if TYPE_CHECKING:
    from semivl_cli.data.contract import Dataset

GROUP = "semivl.datasets"
"""The entry-point group: `voc = "semivl_plugins.voc:VOC"`."""
_SHIPPED = "semivl_plugins."
OWN_FILE = "plugin:"
"""How settings begin the name of a file in the package of a dataset's plugin."""


def registered() -> list[str]:
    """Return the names of all registered datasets, sorted, without loading any."""
    return list(_entries())


def available() -> dict[str, str | None]:
    """Return every registered dataset and `None`, or why it cannot be used; one broken plugin spoils no other."""
    reasons: dict[str, str | None] = {}
    for name, entry in _entries().items():
        reasons[name] = None
        try:
            _load(entry)
        except InputError as error:
            reasons[name] = str(error)
    return reasons


def open_dataset(name: str) -> Dataset:
    """Make the dataset that is registered as `name`.

    Raises:
        InputError: if no plugin has that name, or the plugin is broken.
    """
    entries = _entries()
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"no dataset is called {name!r}: {hint}known are {', '.join(entries) or 'none'} "
            "(semivl prepare data lists them, and what is wrong with a broken one)"
        )
    return _load(entries[name])


@contextmanager
def plugin_code(dataset: Dataset | None, doing: str) -> Iterator[None]:
    """Say in one line where a stranger's plugin failed, `doing` what: it is its author's mistake, not ours.

    Raises:
        InputError: anything was raised that is not one line already.
    """
    try:
        yield
    except (SemiVLError, MemoryError):
        raise
    except Exception as error:
        if dataset is not None and type(dataset).__module__.startswith(_SHIPPED):
            raise
        whose = "a plugin" if dataset is None else f"the plugin of dataset {dataset.name!r}"
        frame = traceback.extract_tb(error.__traceback__)[-1]
        reason = " ".join(str(error).split())
        raise InputError(
            f"{whose} failed, {doing}: {type(error).__name__}: {reason} ({frame.filename}:{frame.lineno})"
        ) from error


def package_file(dataset: Dataset, relative: str) -> Path:
    """Return the path of a file inside the plugin's own package; raises `InputError` if there is no such file."""
    path = find_package_file(dataset, relative)
    if path is None:
        raise InputError(f"the plugin of dataset {dataset.name!r} holds no file {relative!r}")
    return path


def find_package_file(dataset: Dataset, relative: str) -> Path | None:
    """Return the path of a file inside the plugin's own package, or `None` where there is none."""
    folder = _package_folder(dataset)
    return folder / relative if folder is not None and (folder / relative).is_file() else None


def package_files(dataset: Dataset, pattern: str) -> list[Path]:
    """Return the files inside the plugin's own package that a pattern fits, sorted."""
    folder = _package_folder(dataset)
    return [] if folder is None else sorted(path for path in folder.glob(pattern) if path.is_file())


def own_definition(dataset: Dataset) -> str:
    """Return the class definition that a dataset names: a shipped name, or the path of a file in its package.

    Raises:
        InputError: if there is no such file.
    """
    own = dataset.definition
    return str(package_file(dataset, own)) if own.endswith(".toml") else own


def title(dataset: Dataset) -> str:
    """Return what a dataset is, in the words of its author: the first line of its module, or else of its class."""
    texts = (sys.modules[type(dataset).__module__].__doc__, type(dataset).__doc__)
    return next((text.strip().splitlines()[0] for text in texts if text and text.strip()), "")


def _package_folder(dataset: Dataset) -> Path | None:
    package = sys.modules[type(dataset).__module__].__package__
    # A plugin of a single module has no folder of its own.
    return Path(str(importlib.resources.files(package))) if package else None


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP))}


def _load(entry: EntryPoint) -> Dataset:
    broken = f"the plugin of dataset {entry.name!r} ({entry.value}) is broken"
    try:
        dataset: Dataset = entry.load()()
    except (Exception, SystemExit) as error:  # a stranger's module may fail in any way
        reason = " ".join(str(error).split())
        raise InputError(f"{broken}: {type(error).__name__}: {reason}") from error
    words, methods = ("name", "definition", "recipe"), ("records", "class_ids")
    lacking = [word for word in words if not isinstance(getattr(dataset, word, None), str)]
    lacking += [method for method in methods if not callable(getattr(dataset, method, None))]
    if lacking:
        raise InputError(f"{broken}: it lacks {', '.join(lacking)}")
    return dataset
