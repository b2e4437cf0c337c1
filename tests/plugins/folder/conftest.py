"""Two folder datasets, and what `semivl prepare data folder` does with one."""

import numpy as np
import pytest
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.data.choose.survey import survey

CLASSES = (("background", (0, 0, 0)), ("road", (128, 64, 128)))
NAMES = [name for name, _ in CLASSES]


@pytest.fixture
def tree(tmp_path):
    """Six images, five masks, one image and mask in a sub-folder."""
    for name in ("a", "b", "c", "d", "day1/e", "f"):
        for folder, suffix in (("images", "jpg"), ("masks", "png")):
            path = tmp_path / folder / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if (folder, name) != ("masks", "f"):
                Image.new("L", (4, 4)).save(path)
    return tmp_path


@pytest.fixture
def root(tmp_path):
    """Eight images of noise, six masks, one of them validation."""
    root = tmp_path / "data"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 255, (20, 30, 3), np.uint8)
        Image.fromarray(noise).save(root / "images" / f"{number}.jpg")
        if number < 6:
            Image.fromarray(np.resize(np.array([0, 1], np.uint8), (20, 30))).save(root / "masks" / f"{number}.png")
    (root / "val.txt").write_text("5\n")
    return root


@pytest.fixture
def contents():
    """Returns path -> bytes of all that is the user's."""

    def read(root):
        return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and "prepared" not in path.parts}

    return read


@pytest.fixture
def look(contents):
    """Runs what `semivl prepare data folder` runs; returns problems and notes, and checks that no file changed."""

    def run(root, *sources):
        before = contents(root)
        dataset = Folder()
        lines = []
        dataset.prepare(root, sources, CLASSES, False, lines.append)
        found = survey(dataset, root, NAMES)
        assert before.items() <= contents(root).items()
        assert all("\n" not in line for line in (*found.problems, *found.notes, *lines))
        return "\n".join(found.problems), "\n".join((*found.notes, *lines))

    return run
