"""Batches of the small folder dataset, as the tests of loading take them."""

import pytest
import torch
from semivl_plugins.folder import Folder

from semivl_cli.config import DataSettings
from semivl_cli.data.choose.index import build_index
from semivl_cli.data.load.batches import Batch, train_batches
from semivl_cli.settings_toml import resolve

TENSORS = ("x_image", "x_label", "u_image", "u_ignore", "partner_image", "partner_ignore", "boxes")


@pytest.fixture
def index(world):
    return build_index(Folder(), world.root, DataSettings(labels=4), seed=0, class_names=world.names)


PUBLISHED = {"augment": {"flip": 0.5, "blur": 0.5, "partner": "same_image"}}
SMALL = {"data": {"crop": 24}, "training": {"batch": 4}}


@pytest.fixture
def batches():
    """Make the batches of some steps, as published unless `settings` say otherwise."""

    def made(index, start=0, stop=3, *, workers=0, seed=0, settings=None, **more):
        config = resolve(PUBLISHED, SMALL, {"seed": seed, "data": {"workers": workers}}, settings or {})
        return list(train_batches(index, Folder(), ("ground", "tree", "car"), config, range(start, stop), **more))

    return made


@pytest.fixture
def same():
    """Tell whether two batches are the same, bit for bit."""

    def same(one: Batch, two: Batch) -> bool:
        tensors = all(torch.equal(getattr(one, name), getattr(two, name)) for name in TENSORS)
        return tensors and (one.step, one.colors, one.partner_colors) == (two.step, two.colors, two.partner_colors)

    return same
