"""A small folder dataset, and files of the forms that annotation tools write."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.data.read.images import read_label

CLASS_NAMES = ("ground", "tree", "car")
CLASSES = (("background", (0, 0, 0)), ("road", (128, 64, 128)), ("traffic light", (250, 170, 30)))
SIZE = (20, 30)


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


class Shop:
    """A folder dataset under construction, and its `prepare`."""

    road = ((10, 5), (20, 5), (20, 15), (10, 15))  # the corners of the boxes below
    light = ((2, 0), (6, 0), (6, 4), (2, 4))

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

    def same(self, boxes, *names):
        found = self.ids()
        assert set(found) == set(names), self.lines
        for name in names:
            assert (found[name] == boxes).all(), name
        assert self.problems == {}

    @staticmethod
    def flat(points):
        return [number for point in points for number in point]

    @staticmethod
    def colored(boxes):
        return np.array([color for _, color in CLASSES], np.uint8)[boxes]

    @staticmethod
    def png(pixels):
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "PNG")
        return data.getvalue()

    def coco(self, **more):
        return {
            "images": [
                {"id": 7, "file_name": "a.jpg", "width": 30, "height": 20},
                {"id": 8, "file_name": "photos/day1/b.jpg", "width": 30, "height": 20},
                {"id": 9, "file_name": "c.jpg", "width": 30, "height": 20},
            ],
            "categories": [
                {"id": 3, "name": "Road"},
                {"id": 18, "name": "traffic_light"},
                {"id": 90, "name": "never used"},
            ],
            "annotations": [
                {
                    "id": 1,
                    "image_id": image,
                    "category_id": number,
                    "segmentation": [ring],
                    "iscrowd": 0,
                    "area": 5,
                }
                for image in (7, 8)
                for number, ring in ((3, self.flat(self.road)), (18, self.flat(self.light)))
            ],
            **more,
        }


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


@pytest.fixture(scope="session")
def encode_brush():
    """Packs numbers as Label Studio does."""

    def encode(numbers, widths):
        """Write the code as its format is told: repeats of three and more as such, others as they are."""
        bits = [f"{len(numbers):032b}", f"{7:05b}", *(f"{width - 1:04b}" for width in widths)]
        place = 0

        def block(flag, count, payload):
            kind = next(kind for kind, width in enumerate(widths) if count - 1 < 1 << width)
            bits.append(f"{flag}{kind:02b}{count - 1:0{widths[kind]}b}{payload}")

        most = 1 << max(widths)
        while place < len(numbers):
            end = place
            while end < len(numbers) and numbers[end] == numbers[place] and end - place < most:
                end += 1
            if end - place > 2:
                block(1, end - place, f"{numbers[place]:08b}")
            else:
                end = min(place + 2, len(numbers), place + most)
                block(0, end - place, "".join(f"{number:08b}" for number in numbers[place:end]))
            place = end
        text = "".join(bits)
        text += "0" * (-len(text) % 8)
        return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]

    return encode
