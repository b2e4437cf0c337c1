"""Batches of the small folder dataset, as the tests of loading take them."""

import pytest
import torch
from semivl_plugins.folder import Folder

from semivl_cli.config import AugmentSettings, DataSettings
from semivl_cli.data.choose.index import build_index
from semivl_cli.data.load.batches import Batch, train_batches

TENSORS = ("x_image", "x_label", "u_image", "u_ignore", "partner_image", "partner_ignore", "boxes")


@pytest.fixture
def index(world):
    return build_index(Folder(), world.root, labels=4, seed=0, class_names=world.names, missing="refuse")


@pytest.fixture
def batches():
    """Make the batches of some steps, as published: flips, blur, and a partner of the same image."""

    def made(index, start=0, stop=3, *, batch=4, seed=0, workers=0, crop=24, scale_range=(0.5, 2.0), **more):
        names = ("ground", "tree", "car")
        data = DataSettings(crop=crop, scale_range=list(scale_range), workers=workers)
        chances = {name: more.pop(name, default) for name, default in PUBLISHED.items()}
        augment = AugmentSettings(**chances)
        batches = train_batches(
            index, Folder(), names, data, augment, batch=batch, seed=seed, start_step=start, stop_step=stop, **more
        )
        return list(batches)

    return made


PUBLISHED = {"flip": 0.5, "blur": 0.5, "partner": "same_image"}


@pytest.fixture
def same():
    """Tell whether two batches are the same, bit for bit."""

    def same(one: Batch, two: Batch) -> bool:
        tensors = all(torch.equal(getattr(one, name), getattr(two, name)) for name in TENSORS)
        return tensors and (one.step, one.colors, one.partner_colors) == (two.step, two.colors, two.partner_colors)

    return same
