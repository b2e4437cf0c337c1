"""A small folder dataset: three classes, some images without masks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASS_NAMES = ("ground", "tree", "car")


class World:
    """Writes images and masks whose pixels tell which image they belong to."""

    names = CLASS_NAMES

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0

    def add(self, name: str, *, ids=(0, 1), mask: bool = True, size=(20, 30)) -> None:
        height, width = size
        self.count += 1
        for folder in ("images", "masks"):
            (self.root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        shade = np.linspace(0, 50, width, dtype=np.uint8)[None, :, None]  # the first column tells the image
        image = np.full((height, width, 3), 8 * self.count, np.uint8) + shade
        Image.fromarray(image).save(self.root / "images" / f"{name}.png")
        if mask:
            label = np.resize(np.array(ids, np.uint8), (height, width))
            Image.fromarray(label).save(self.root / "masks" / f"{name}.png")


@pytest.fixture
def world(tmp_path) -> World:
    """12 training images with masks, 5 without, 3 validation images."""
    made = World(tmp_path / "world")
    for number in range(12):
        made.add(f"m{number:02d}", ids=(0, 2) if number == 7 else (0, 1))
    for number in range(5):
        made.add(f"u{number}", mask=False)
    for number in range(3):
        made.add(f"v{number}", ids=(0, 1, 2))
    (made.root / "val.txt").write_text("v0\nv1\nv2\n")
    return made
