"""Which pictures a prediction reads and where it writes, before any model is loaded."""

import numpy as np
import pytest
from PIL import Image

from semivl_cli.engine.infer.predict import Job, plan_predictions
from semivl_cli.errors import InputError
from semivl_cli.palette import save_mask


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(root / name)


def planned(root, out):
    return {job.image.relative_to(root).as_posix(): job.mask.relative_to(out).as_posix() for job in plan(root, out)}


def plan(root, out):
    return plan_predictions([root], out)


def test_masks_lie_as_their_pictures_and_are_planned_in_order(tmp_path):
    make(tmp_path / "in", "b.png", "b/1.jpg", "a.jpg", "a.png")
    (tmp_path / "in" / "notes.txt").touch()
    jobs = plan(tmp_path / "in", tmp_path / "out")
    assert [job.mask.relative_to(tmp_path / "out").as_posix() for job in jobs] == [
        "a.jpg.png",
        "a.png.png",
        "b/1.png",
        "b.png",
    ]
    assert jobs[2] == Job(tmp_path / "in/b/1.jpg", tmp_path / "out/b/1.png")


def test_hidden_files_and_links_to_folders_above_are_passed_over(tmp_path):
    make(tmp_path, "in/a.png", "in/.cache/b.png", "elsewhere/c.png")
    (tmp_path / "in" / "._a.png").write_bytes(b"what a Mac leaves")
    (tmp_path / "in" / "self").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "broken.png").symlink_to(tmp_path / "nothing.png")
    found = planned(tmp_path / "in", tmp_path / "out")
    assert found == {"a.png": "a.png", "linked/c.png": "linked/c.png"}


def test_masks_inside_the_input_are_no_input_and_strangers_are_not_overwritten(tmp_path):
    make(tmp_path, "a.png", "out/a.png")
    with pytest.raises(InputError, match="was not written by semivl"):
        plan(tmp_path, tmp_path / "out")
    save_mask(tmp_path / "out" / "a.png", np.zeros((2, 2), np.uint8), [(0, 0, 0)])
    assert planned(tmp_path, tmp_path / "out") == {"a.png": "a.png"}
    save_mask(tmp_path / "out" / "a.png", np.zeros((2, 2), np.uint8), [(0, 0, 0)], ours=False)
    with pytest.raises(InputError, match="was not written by semivl"):
        plan(tmp_path, tmp_path / "out")
