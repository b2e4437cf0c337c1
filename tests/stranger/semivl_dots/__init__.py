"""Dots: bright discs and rings on dark ground, 16 training and 4 validation images."""

import numpy as np
from PIL import Image

from semivl_cli.data.contract import Record

VALUE_OF_CLASS = (10, 20, 30)  # what a mask file holds for ground, disc, ring; 0 is a blurred edge


class Dots:
    name = "dots"
    definition = "classes.toml"
    recipe = "recipe.toml"

    def records(self, root, split):
        for image in sorted((root / split).glob("*.png")):
            mask = root / "masks" / image.name
            yield Record(id=image.stem, image=image, label=mask if mask.exists() else None)

    def class_ids(self, raw):
        table = np.full(256, 254, np.uint8)  # 254 is no class: a mask with another value is refused
        table[0] = 255  # 255 neither trains nor counts
        table[list(VALUE_OF_CLASS)] = (0, 1, 2)
        return table[raw]

    def prepare(self, root, sources, classes, download, report):
        for split, count in (("train", 16), ("val", 4)):
            for number in range(count):
                image, mask = draw(number + 100 * (split == "val"))
                save(image, root / split / f"{split}-{number:02d}.png")
                save(mask, root / "masks" / f"{split}-{number:02d}.png")
        report(f"20 images drawn in {root}")


def draw(seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, (48, 48, 3), dtype=np.uint8)
    mask = np.full((48, 48), VALUE_OF_CLASS[0], np.uint8)
    row, column, radius = rng.integers((14, 14, 7), (34, 34, 13))
    distance = np.hypot(*(np.mgrid[:48, :48] - np.array([row, column])[:, None, None]))
    inside = distance < radius if seed % 2 else np.abs(distance - radius) < 3
    image[inside] += np.array([150, 40, 20] if seed % 2 else [20, 60, 150], np.uint8)
    mask[inside] = VALUE_OF_CLASS[1 if seed % 2 else 2]
    mask[0] = 0
    return image, mask


def save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
