"""Twenty kinds of damaged data: each gives one clear line, and nothing of the user's is lost."""

import errno
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.data.convert import mask_files as conversion
from semivl_cli.errors import InputError, RunError


def truncated_jpeg(root):
    path = root / "images/0.jpg"
    path.write_bytes(path.read_bytes()[:300])


def mask_of_another_size(root):
    Image.fromarray(np.zeros((30, 20), np.uint8)).save(root / "masks/0.png")


def see_through_mask(root):
    Image.fromarray(np.full((20, 30, 4), 100, np.uint8)).save(root / "masks/0.png")


def float_mask(root):
    pixels = np.zeros((20, 30), np.float32)
    pixels[0, 0] = np.nan
    (root / "masks/0.png").unlink()
    Image.fromarray(pixels).save(root / "masks/0.tif")


def empty_image(root):
    (root / "images/0.jpg").write_bytes(b"")


def empty_mask(root):
    (root / "masks/0.png").write_bytes(b"")


def text_as_image(root):
    (root / "images/0.jpg").write_text("404 Not Found")


def mask_without_image(root):
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(root / "masks/other.png")


def unknown_value(root):
    Image.fromarray(np.full((20, 30), 7, np.uint8)).save(root / "masks/0.png")


def value_of_16_bits(root):
    Image.fromarray(np.full((20, 30), 300, np.uint16)).save(root / "masks/0.png")


def color_off(root):
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[3:5] = (128, 64, 129)
    Image.fromarray(pixels).save(root / "masks/0.png")


def two_colors_off(root):
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[3:5], pixels[9] = (128, 64, 129), (128, 128, 128)
    Image.fromarray(pixels).save(root / "masks/0.png")


def grey_off_among_colors(root):
    pixels = np.full((20, 30, 3), (128, 64, 128), np.uint8)
    pixels[3:5] = 9
    Image.fromarray(pixels).save(root / "masks/0.png")


def masks_of_nothing(root):
    for path in (root / "masks").iterdir():
        Image.fromarray(np.full((20, 30), 255, np.uint8)).save(path)


def jpeg_as_mask(root):
    pixels = np.random.default_rng(0).choice(np.array([(0, 0, 0), (128, 64, 128)], np.uint8), (20, 30))
    (root / "masks/0.png").unlink()
    Image.fromarray(pixels).save(root / "masks/0.jpg")


def grey_as_three_channels(root):
    Image.fromarray(np.ones((20, 30, 3), np.uint8)).save(root / "masks/0.png")


def validation_image_in_training(root):
    (root / "images/6.jpg").write_bytes((root / "images/5.jpg").read_bytes())


def validation_image_in_training_in_another_format(root):
    with Image.open(root / "images/5.jpg") as picture:
        picture.save(root / "images/copy.png")


def validation_mask_gone(root):
    (root / "masks/5.png").unlink()


def list_of_what_is_not_there(root):
    (root / "val.txt").write_text("5\n99\n")


def link_to_nowhere(root):
    (root / "images/9.jpg").symlink_to(root / "gone.jpg")


def binary_masks(root):
    for path in (root / "masks").iterdir():
        Image.fromarray(np.resize(np.array([0, 255], np.uint8), (20, 30))).save(path)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (truncated_jpeg, "images/0.jpg: the image cannot be read"),
        (
            mask_of_another_size,
            "masks/0.png: the mask is 20 x 30 pixels (width x height), its image as shown is 30 x 20",
        ),
        (see_through_mask, "masks/0.png: 600 pixels of the mask are transparent"),
        (float_mask, "masks/0.tif: a mask has one channel of whole numbers"),
        (empty_image, "images/0.jpg: the file is empty"),
        (empty_mask, "masks/0.png: the file is empty"),
        (text_as_image, "images/0.jpg: not an image that can be read"),
        (mask_without_image, "images/other"),
        (unknown_value, "masks/0.png: value 7 (600 pixels) is no class; the classes are 0 background, 1 road"),
        (value_of_16_bits, "masks/0.png: value 300 (600 pixels) is no class"),
        (color_off, "masks/0.png: colors that mean nothing: the color #804081 (60 pixels) is no class"),
        (two_colors_off, "the colours #804081 (60 pixels), #808080 (30 pixels) are no classes"),
        (grey_off_among_colors, "masks/0.png: colours that mean nothing: the colour #090909 (60 pixels) is no class"),
        (masks_of_nothing, "masks show no class: all of their pixels are ignored (3600)"),
        (jpeg_as_mask, "masks/0.jpg: its colours look compressed (JPEG) or smoothed"),
        (grey_as_three_channels, "its three channels are equal (if they are class ids, save one channel)"),
        (validation_image_in_training, "images/5.jpg is the same image as"),
        (validation_image_in_training_in_another_format, "images/5.jpg is the same image as"),
        (validation_mask_gone, "files missing"),
        (list_of_what_is_not_there, "images/99"),
        (link_to_nowhere, "images/9.jpg"),
        (binary_masks, "values = { 0 = 0, 255 = 1 }"),
    ],
)
def test_what_training_would_refuse_is_a_problem(root, damage, line, look):
    assert look(root)[0] == ""
    damage(root)
    problems, _ = look(root)
    assert line.replace("colors", "colours").replace("the color ", "the colour ") in problems


@pytest.mark.parametrize("content", ["values = { 0 = 0, 1 = 2 }", "background = 2", 'values = { "road" = 2 }'])
def test_class_ids_of_dataset_toml_beyond_the_classes_are_refused_before_anything_is_written(root, content, look):
    (root / "dataset.toml").write_text(content)
    with pytest.raises(InputError, match=r"dataset\.toml has the class id 2, but the classes are 0 background, 1 road"):
        look(root)
    assert not (root / "prepared/index.jsonl").exists()


def test_images_that_all_have_masks_are_told_for_nothing_is_unlabelled(root, look):
    assert "every training image has a mask" not in look(root)[1]
    for number in (6, 7):
        (root / f"images/{number}.jpg").unlink()
    problems, notes = look(root)
    assert not problems
    assert "every training image has a mask" in notes
    assert "--labels N" in notes


def test_a_full_disk_stops_with_one_line_and_the_next_call_goes_on(root, monkeypatch, look, contents):
    for path in (root / "masks").iterdir():
        Image.fromarray(np.array([(0, 0, 0), (128, 64, 128)], np.uint8)[np.array(Image.open(path))]).save(path)
    before, save, saved = contents(root), conversion.save_mask, []

    def full(path, *rest):
        if len(saved) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        saved.append(path)
        save(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "save_mask", full)
        with pytest.raises(RunError, match="the disk is full: the masks that were written are kept"):
            look(root)
    assert contents(root) == before
    made = {path: path.stat().st_mtime_ns for path in (root / "prepared/masks").iterdir()}
    assert len(made) == 3
    problems, notes = look(root)
    assert problems == ""
    assert "3 masks written, 3 are there already" in notes
    assert all(path.stat().st_mtime_ns == time for path, time in made.items())


def test_a_mask_that_is_not_ours_is_never_overwritten(root, look):
    (root / "prepared/masks").mkdir(parents=True)
    foreign = root / "prepared/masks/0.png"
    Image.new("L", (3, 3)).save(foreign)
    kept = foreign.read_bytes()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(root / "masks/0.png")
    assert "prepared/masks/0.png is not of semivl's making, so it is not overwritten" in look(root)[0]
    assert foreign.read_bytes() == kept


def test_a_source_beside_the_root_has_its_own_name_in_ids_and_masks_stay_below_it(tmp_path, monkeypatch):
    for name in ("a", "b"):
        folder = tmp_path / "export" / name
        folder.mkdir(parents=True)
        Image.effect_noise((8, 8), 90).save(folder / f"{name}.jpg")
        (folder / f"{name}.txt").write_text("0 0 0 1 0 1 1 0 1\n")
        (folder.parent / "classes.txt").write_text("car\n")
    root = tmp_path / "mine"
    root.mkdir()
    monkeypatch.chdir(root)
    Folder().prepare(Path(), [Path("../export")], (("background", (0, 0, 0)), ("car", (1, 1, 1))), False, print)
    masks = (root / "prepared").rglob("*.png")
    assert sorted(path.relative_to(root / "prepared/masks").as_posix() for path in masks) == [
        "export/a/a.png",
        "export/b/b.png",
    ]
