import numpy as np
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.config import DataSettings
from semivl_cli.data.choose.faint import faint_notes
from semivl_cli.data.choose.index import build_index
from semivl_cli.data.choose.survey import survey


def of_a_camera_of_12_bits(world):
    """Make the images what a camera of 12 bits would have saved in files of 16."""
    for path in (world.root / "images").glob("*.png"):
        with Image.open(path) as picture:
            numbers = np.asarray(picture.convert("L")).astype(np.uint16) * 16
        Image.fromarray(numbers).save(path)


def notes(world):
    folder = Folder()
    index = build_index(folder, world.root, DataSettings(), seed=0, class_names=world.names)
    return faint_notes(index, folder.value_range)


def test_images_of_little_range_are_told_until_a_range_is(world):
    assert notes(world) == []  # of 8 bits
    of_a_camera_of_12_bits(world)
    told = "use less than a sixteenth of the range of their numbers, such as 'm00'"
    (note,) = notes(world)
    assert note.startswith(f"17 of 17 images {told}")
    assert any(told in note for note in survey(Folder(), world.root, world.names).notes)
    (world.root / "dataset.toml").write_text("value_range = [0, 4095]")
    assert notes(world) == []
    assert not any("sixteenth" in note for note in survey(Folder(), world.root, world.names).notes)


def test_what_cannot_be_read_is_said_by_others(world):
    (world.root / "images/m00.png").write_bytes(b"nothing")
    assert notes(world) == []
