"""Files of the forms that annotation tools write, and the classes that they mean."""

import json

import numpy as np
import pytest
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.data.read.images import read_label

CLASSES = (("background", (0, 0, 0)), ("road", (128, 64, 128)), ("traffic light", (250, 170, 30)))
SIZE = (20, 30)


class Shop:
    """A folder dataset under construction, and its `prepare`."""

    def __init__(self, root):
        self.root = root
        self.lines: list[str] = []
        self.problems: dict[str, list[str]] = {}

    def image(self, name, size=SIZE, folder="images"):
        path = self.root / folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(abs(hash(name)) % 1000).integers(0, 255, (*size, 3), np.uint8)
        Image.fromarray(noise).save(path)
        return path

    def mask(self, name, pixels, folder="masks", **how):
        path = self.root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **how)
        return path

    def json(self, name, content):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        return path

    def prepare(self, *sources, classes=CLASSES):
        folder = Folder()
        self.lines = []
        folder.prepare(self.root, sources, classes, False, self.lines.append)
        self.problems = folder.problems
        return self

    def ids(self):
        """Id -> class map of every record that has a mask, as a training reads it."""
        folder = Folder()
        names = [name for name, _ in CLASSES]
        records = [record for split in ("train", "val") for record in folder.records(self.root, split)]
        return {record.id: read_label(record, folder, names) for record in records if record.label}

    def told(self, *words):
        return any(all(word in line for word in words) for line in self.lines)


@pytest.fixture
def shop(tmp_path):
    """Three images of 20 x 30 pixels: `a`, `day1/b`, `c`."""
    made = Shop(tmp_path / "shop")
    for name in ("a", "day1/b", "c"):
        made.image(name)
    return made


@pytest.fixture
def boxes():
    """A class map: road in a box, a traffic light in another; the rest is background."""
    ids = np.zeros(SIZE, np.uint8)
    ids[5:15, 10:20] = 1
    ids[0:4, 2:6] = 2
    return ids
