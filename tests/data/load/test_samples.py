import numpy as np
import pytest
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.data.load.samples import val_samples


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_comes_in_order_with_labels_at_their_own_size(index, world, workers):
    samples = list(val_samples(index.val, Folder(), world.names, short_side=40, workers=workers))
    assert [record.id for record, _, _ in samples] == ["v0", "v1", "v2"]
    for _, image, label in samples:
        assert (image.dtype, image.shape) == (np.uint8, (40, 60, 3))
        assert (label.dtype, label.shape) == (np.uint8, (20, 30))
    _, image, label = next(iter(val_samples(index.val, Folder(), world.names, short_side=None, workers=0)))
    assert image.shape[:2] == label.shape == (20, 30)
    assert list(val_samples((), Folder(), world.names, short_side=None, workers=workers)) == []


def test_images_are_as_bright_as_the_range_says(index, world):
    numbers = np.linspace(0, 4095, 600, dtype=np.uint16).reshape(20, 30)
    Image.fromarray(numbers).save(world.root / "images/v0.png")
    bright, dark = (
        next(iter(val_samples(index.val, Folder(), world.names, short_side=None, value_range=told, workers=0)))[1]
        for told in ((0, 4095), None)
    )
    assert (int(bright.max()), int(dark.max())) == (255, 16)
