"""Looks at data and keeps weights before a training needs them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..concepts.load import parse_definition
from ..data.contract import Prepares
from ..data.index import find_root
from ..data.registry import open_dataset
from ..data.survey import Survey, survey
from ..errors import InputError
from ..model.clip import keep_weights
from .configure import configure
from .reporter import Reporter
from .setup import read_definition


def prepare_data(flags: Mapping[str, Any], reporter: Reporter, *, download: bool = False) -> Survey:
    """Let the plugin prepare its files where it does so, then read every image and mask once and say what is there."""
    config = configure(flags)
    dataset = open_dataset(config.dataset)
    root = find_root(dataset.name, None if config.data.root == "none" else Path(config.data.root))
    reporter.note(f"looking at {dataset.name} in {root}")
    definition = parse_definition(*read_definition(config, dataset))
    if isinstance(dataset, Prepares):
        classes = tuple(zip(definition.names, definition.colors, strict=True))
        dataset.prepare(root, (), classes, download, reporter.note)
    elif download:
        raise InputError(f"dataset {dataset.name!r} has nothing to download: put its files into {root}")
    return survey(dataset, root, definition.names)


def prepare_weights(model: str, source: str) -> Path:
    """Fetch (a tag) or take (a file) CLIP weights; returns the kept file."""
    return keep_weights(model, source)
