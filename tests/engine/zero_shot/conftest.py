"""The demo's own CLIP and a scene for it."""

import numpy as np
import pytest

from semivl_cli.data.registry import open_dataset
from semivl_cli.engine.zero_shot.recipe import zero_shot_config
from semivl_cli.engine.zero_shot.segmenter import open_segmenter
from semivl_cli.reporter import Silence


@pytest.fixture(scope="module")
def segmenter():
    return open_segmenter(zero_shot_config(definition="shapes"), "cpu", Silence())


@pytest.fixture(scope="module")
def scene():
    """A scene of the demo, larger than a window, with sides that are no multiples of anything."""
    dataset = open_dataset("shapes")
    images = [record.image() for record in list(dataset.records(None, "val"))[:4]]
    rows = [np.concatenate(images[:2], axis=1), np.concatenate(images[2:], axis=1)]
    return np.concatenate(rows)[:157, :181]
