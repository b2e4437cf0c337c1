"""Finds dataset plugins through their entry points, and files inside a plugin's own package."""

from __future__ import annotations

import difflib
import importlib.resources
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from semivl_cli.errors import InputError

if TYPE_CHECKING:
    from semivl_cli.data.contract import Dataset

GROUP = "semivl.datasets"
"""The entry-point group: `voc = "semivl_plugins.voc:VOC"`."""

_WORDS = ("name", "definition", "recipe")
_METHODS = ("records", "class_ids")


def available() -> dict[str, str | None]:
    """Return every registered dataset and `None`, or why it cannot be used; one broken plugin spoils no other."""
    reasons: dict[str, str | None] = {}
    for entry in _entries().values():
        try:
            _load(entry)
        except InputError as error:
            reasons[entry.name] = str(error)
        else:
            reasons[entry.name] = None
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
        raise InputError(f"no dataset is called {name!r}: {hint}known are {', '.join(entries) or 'none'}")
    return _load(entries[name])


def package_file(dataset: Dataset, relative: str) -> Path:
    """Return the path of a file inside the plugin's own package.

    Raises:
        InputError: if there is no such file.
    """
    path = find_package_file(dataset, relative)
    if path is None:
        raise InputError(f"the plugin of dataset {dataset.name!r} holds no file {relative!r}")
    return path


def find_package_file(dataset: Dataset, relative: str) -> Path | None:
    """Return the path of a file inside the plugin's own package, or `None` where there is none."""
    package = sys.modules[type(dataset).__module__].__package__
    if not package:  # a plugin of a single module has no folder of its own
        return None
    path = Path(str(importlib.resources.files(package).joinpath(relative)))
    return path if path.is_file() else None


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP))}


def _load(entry: EntryPoint) -> Dataset:
    try:
        dataset: Dataset = entry.load()()
    except (Exception, SystemExit) as error:  # a stranger's module may fail in any way
        reason = " ".join(str(error).split())
        raise InputError(
            f"the plugin of dataset {entry.name!r} ({entry.value}) is broken: {type(error).__name__}: {reason}"
        ) from error
    lacking = [word for word in _WORDS if not isinstance(getattr(dataset, word, None), str)]
    lacking += [method for method in _METHODS if not callable(getattr(dataset, method, None))]
    if lacking:
        raise InputError(
            f"the plugin of dataset {entry.name!r} ({entry.value}) is broken: it lacks {', '.join(lacking)}"
        )
    return dataset
