"""Images in training and validation both: copies, the same pixels in another format, and frames that look alike."""

import numpy as np
import pytest
from PIL import Image

from semivl_cli.data.choose.duplicates import Fingerprints, check_leaks, difference_hash, same_images
from semivl_cli.data.read.images import read_thumbnail
from semivl_cli.data.read.known_files import content_hash
from semivl_cli.errors import InputError


def scene(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((90, 80), Image.Resampling.BOX))


def save(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


def fingerprints(paths):
    found = Fingerprints()
    for position, path in enumerate(paths):
        found.add(position, content_hash(path), difference_hash(read_thumbnail(path)[1]))
    return found


def test_copies_other_formats_and_lookalikes_are_told_apart(tmp_path):
    brighter = np.minimum(scene(2), 250) + np.uint8(5)
    train = [save(tmp_path / f"{name}.png", scene(name)) for name in range(3)]
    val = [
        save(tmp_path / "copy.png", scene(0)),
        save(tmp_path / "renamed.bmp", scene(1)),
        save(tmp_path / "next-frame.png", brighter),
        save(tmp_path / "other.png", scene(7)),
    ]
    files = {"train": train, "val": val}
    same, alike = same_images(fingerprints(train), fingerprints(val), lambda split, at: files[split][at])
    assert same == [(val[0], train[0]), (val[1], train[1])]
    assert alike == [(val[2], train[2])]
    assert fingerprints([*train, val[0]]).repeated == 1


def test_a_copy_in_training_is_refused_unless_it_shows_a_single_colour(tmp_path):
    grey = np.full((20, 20, 3), 128, np.uint8)
    val = [save(tmp_path / "v.png", scene(0)), save(tmp_path / "w.png", grey)]
    check_leaks([save(tmp_path / "x.png", scene(1)), save(tmp_path / "y.png", grey)], val)
    with pytest.raises(InputError, match=r"v\.png is a validation image, and .*z\.png the same image in training"):
        check_leaks([save(tmp_path / "z.png", scene(0))], val)
