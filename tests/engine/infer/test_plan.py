"""Which pictures a prediction reads and where it writes, before any model is loaded."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semivl_cli.engine.infer import plan as planning
from semivl_cli.engine.infer.plan import Job, plan_predictions
from semivl_cli.errors import InputError
from semivl_cli.palette import save_image, save_mask


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(root / name)


def planned(root, out):
    return {
        job.image.relative_to(root).as_posix(): job.mask.relative_to(out).as_posix()
        for job in plan_predictions([root], out).jobs
    }


def write_mask(path, **kind):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_mask(path, np.zeros((2, 2), np.uint8), [(0, 0, 0)], **kind)


def test_masks_lie_as_their_pictures_and_are_planned_in_order(tmp_path):
    make(tmp_path / "in", "b.png", "b/1.jpg", "a.jpg", "a.png")
    (tmp_path / "in" / "notes.txt").touch()
    jobs = plan_predictions([tmp_path / "in"], tmp_path / "out").jobs
    assert [job.mask.relative_to(tmp_path / "out").as_posix() for job in jobs] == [
        "a.jpg.png",
        "a.png.png",
        "b/1.png",
        "b.png",
    ]
    out = tmp_path / "out"
    assert jobs[2] == Job(tmp_path / "in/b/1.jpg", out / "b/1.png", out / "overlays/b/1.jpg")


@given(names=st.sets(st.from_regex(r"[abA](\.jpg|\.png|\.tif){0,3}", fullmatch=True)))
def test_no_two_pictures_of_a_folder_share_a_mask_and_most_are_called_by_their_stem(names):
    pictures = {((0, k), Path(name)): Path("in") / name for k, name in enumerate(names)}
    jobs = planning._name_outputs(pictures, Path("/nowhere"))
    masks = [job.mask for job in jobs]
    assert len({*masks}) == len({job.overlay for job in jobs}) == len(names)
    for job in jobs:
        assert job.mask.stem in (job.image.stem, job.image.name)
        others = {other.image.stem for other in jobs if other != job} | {
            other.image.name for other in jobs if other != job
        }
        assert job.mask.stem == job.image.stem or job.image.stem in others


def test_hidden_files_and_links_to_folders_above_are_passed_over_and_broken_links_named(tmp_path):
    make(tmp_path, "in/a.png", "in/.cache/b.png", "elsewhere/c.png", "in/.ipynb_checkpoints/a-checkpoint.png")
    (tmp_path / "in" / "._a.png").write_bytes(b"what a Mac leaves")
    (tmp_path / "in" / "self").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "broken.png").symlink_to("nothing.png")
    (tmp_path / "in" / "day2").symlink_to("/nowhere/at/all")
    (tmp_path / "in" / "loop.png").symlink_to("loop.png")
    assert planned(tmp_path / "in", tmp_path / "out") == {"a.png": "a.png", "linked/c.png": "linked/c.png"}
    plan = plan_predictions([tmp_path / "in"], tmp_path / "out")
    assert len(plan) == 5
    broken, folder, loop = (failure.error for failure in plan.unreadable)
    assert "broken.png is a broken link: nothing.png does not exist" in broken
    assert "day2 is a broken link: /nowhere/at/all does not exist" in folder
    assert "loop.png cannot be read (" in loop
    assert plan.notes == (f"{tmp_path / 'in' / 'self'} links to a folder above it: not followed",)


def test_what_is_no_picture_by_its_name_is_counted_by_suffix(tmp_path):
    make(tmp_path, "in/a.png")
    for name in ("b.HEIC", "c.heic", "d.pdf", "e.CR2", "README", "Thumbs.db", ".DS_Store"):
        (tmp_path / "in" / name).touch()
    (note,) = plan_predictions([tmp_path / "in"], tmp_path / "out").notes
    assert note == (
        "passed over: 2 .heic, 1 without a suffix, 1 .pdf, 1 .cr2 (no images by their names; name a file to have it "
        "tried)"
    )


def test_a_file_that_is_named_is_tried_whatever_it_is_called(tmp_path):
    for name in ("scan.dat", ".hidden.png", "README"):
        Image.new("RGB", (2, 2)).save(tmp_path / name, "PNG")
    plan = plan_predictions([tmp_path / name for name in ("scan.dat", ".hidden.png", "README")], tmp_path / "out")
    assert sorted(job.mask.name for job in plan.jobs) == [".hidden.png", "README.png", "scan.png"]


@pytest.mark.parametrize("again", ["in", "in/../in", "in/a.png", "link/a.png", "in/*.png"])
def test_what_is_given_twice_counts_once(tmp_path, again):
    make(tmp_path, "in/a.png")
    (tmp_path / "link").symlink_to("in")
    plan = plan_predictions([tmp_path / "in", tmp_path / again], tmp_path / "out")
    assert [job.mask.name for job in plan.jobs] == ["a.png"]


def test_patterns_that_a_shell_left_are_filled_in(tmp_path):
    make(tmp_path, "day/a.png", "day/b.jpg", "day/in/c.png")
    (tmp_path / "day" / "notes.txt").touch()
    plan = plan_predictions([tmp_path / "day" / "*"], tmp_path / "out")
    assert [job.mask.relative_to(tmp_path / "out").as_posix() for job in plan.jobs] == ["a.png", "b.png", "c.png"]
    assert "1 .txt" in plan.notes[0]
    with pytest.raises(InputError, match=r"no file fits the pattern .*night/\*: expected image files"):
        plan_predictions([tmp_path / "night" / "*"], tmp_path / "out")


def test_a_folder_that_cannot_be_read_costs_no_other(tmp_path, monkeypatch):
    make(tmp_path, "in/a.png", "in/locked/b.png")
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    plan = plan_predictions([tmp_path / "in"], tmp_path / "out")
    assert [job.image.name for job in plan.jobs] == ["a.png"]
    assert plan.unreadable[0].error.endswith("locked: the folder cannot be read (Permission denied)")


@pytest.mark.parametrize("given_alone", [True, False])
def test_a_pipe_is_not_waited_for(tmp_path, given_alone):
    os.mkfifo(tmp_path / "pipe.png")
    make(tmp_path, "a.png")
    plan = plan_predictions([tmp_path / "pipe.png"] if given_alone else [tmp_path], tmp_path / "out")
    assert [failure.image.name for failure in plan.unreadable] == ["pipe.png"]
    assert len(plan.jobs) == (0 if given_alone else 1)


@pytest.mark.parametrize("name", ["absent.png", "x" * 300, "a.png/b.png"])
def test_what_is_not_there_ends_it_before_anything_is_done(tmp_path, name):
    make(tmp_path, "a.png")
    if name == "absent.png":
        with pytest.raises(InputError, match="does not exist: expected image files"):
            plan_predictions([tmp_path / "a.png", tmp_path / name], tmp_path / "out")
    else:
        plan = plan_predictions([tmp_path / "a.png", tmp_path / name], tmp_path / "out")
        assert "cannot be read" in plan.unreadable[0].error


def test_folders_without_a_picture_are_named(tmp_path):
    make(tmp_path, "in/a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "film.mp4").touch()
    plan = plan_predictions([tmp_path / "in", tmp_path / "empty"], tmp_path / "out")
    assert plan.notes[0] == f"{tmp_path / 'empty'} holds no image" and "1 .mp4" in plan.notes[1]
    with pytest.raises(InputError, match=r"empty holds no image: expected .* passed over: 1 \.mp4"):
        plan_predictions([tmp_path / "empty"], tmp_path / "out")


def test_masks_inside_the_input_are_no_input_and_strangers_are_not_overwritten(tmp_path):
    make(tmp_path, "a.png", "out/a.png")
    with pytest.raises(InputError, match="was not written by semivl"):
        plan_predictions([tmp_path], tmp_path / "out")
    write_mask(tmp_path / "out" / "a.png")
    assert planned(tmp_path, tmp_path / "out") == {"a.png": "a.png"}
    assert plan_predictions([tmp_path], tmp_path / "out").notes == ("passed over: 1 that semivl wrote",)
    write_mask(tmp_path / "out" / "a.png", ours=False)
    with pytest.raises(InputError, match="was not written by semivl"):
        plan_predictions([tmp_path], tmp_path / "out")


def test_a_label_that_was_converted_makes_no_room_for_a_prediction(tmp_path):
    make(tmp_path, "in/a.jpg")
    write_mask(tmp_path / "prepared" / "a.png", source="the drawing")
    with pytest.raises(InputError, match="was not written by semivl predict"):
        plan_predictions([tmp_path / "in"], tmp_path / "prepared")


def test_pictures_of_the_users_in_the_output_folder_are_inputs(tmp_path):
    make(tmp_path, "in/a.jpg", "in/2024/b.jpg")
    write_mask(tmp_path / "in" / "2024" / "c.png")
    assert planned(tmp_path / "in", tmp_path / "in" / "2024") == {"a.jpg": "a.png", "2024/b.jpg": "2024/b.png"}


def test_masks_of_an_earlier_call_are_no_input_of_the_next_wherever_they_lie(tmp_path):
    make(tmp_path, "in/a.jpg")
    write_mask(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "overlays").mkdir()
    save_image(tmp_path / "in" / "overlays" / "a.jpg", np.zeros((2, 2, 3), np.uint8), ours=True)
    plan = plan_predictions([tmp_path / "in"], tmp_path / "masks")
    assert [job.mask.name for job in plan.jobs] == ["a.png"]
    assert plan.notes == ("passed over: 2 that semivl wrote",)
    assert [job.image.name for job in plan_predictions([tmp_path / "in" / "a.png"], tmp_path / "out").jobs] == ["a.png"]


def test_the_output_folder_may_be_among_the_inputs_but_not_the_only_one(tmp_path):
    make(tmp_path, "a.jpg")
    write_mask(tmp_path / "masks" / "a.png")
    plan = plan_predictions([tmp_path / "a.jpg", tmp_path / "masks"], tmp_path / "masks")
    assert [job.image.name for job in plan.jobs] == ["a.jpg"]
    for out in (tmp_path, tmp_path / "masks" / ".."):
        with pytest.raises(InputError, match="is the input folder itself"):
            plan_predictions([tmp_path], out)


@pytest.mark.parametrize("kind", ["itself", "hard link", "link"])
def test_no_input_is_overwritten_even_if_semivl_wrote_it(tmp_path, kind):
    write_mask(tmp_path / "in" / "a.png")
    target = tmp_path / "out" / "a.png"
    target.parent.mkdir()
    given = tmp_path / "in" / "a.png"
    if kind == "itself":
        given.rename(target)
        given = target
    elif kind == "hard link":
        os.link(given, target)
    else:
        target.symlink_to(given)
    with pytest.raises(InputError, match=r"a\.png would be overwritten, and is the input"):
        plan_predictions([given], tmp_path / "out")


@pytest.mark.parametrize("where", ["out/overlays/a.jpg", "out/overlays/legend.png"])
def test_overlays_and_legend_overwrite_nothing_of_others(tmp_path, where):
    make(tmp_path, "in/a.png", where)
    assert len(plan_predictions([tmp_path / "in"], tmp_path / "out").jobs) == 1
    with pytest.raises(InputError, match=f"{Path(where).name} exists and was not written by semivl predict"):
        plan_predictions([tmp_path / "in"], tmp_path / "out", overlays=True, legend=True)
    save_image(tmp_path / where, np.zeros((2, 2, 3), np.uint8), ours=True)
    assert plan_predictions([tmp_path / "in"], tmp_path / "out", overlays=True, legend=True).jobs


def test_the_legend_is_no_mask_as_well(tmp_path):
    make(tmp_path, "in/overlays/legend.jpg")
    assert plan_predictions([tmp_path / "in"], tmp_path / "out").jobs
    with pytest.raises(InputError, match=r"legend\.png would be the legend and a mask"):
        plan_predictions([tmp_path / "in"], tmp_path / "out", legend=True)


def test_a_link_to_nothing_in_the_place_of_a_mask_is_somebodys(tmp_path):
    make(tmp_path, "in/a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").symlink_to(tmp_path / "later.png")
    with pytest.raises(InputError, match=r"a\.png exists and was not written"):
        plan_predictions([tmp_path / "in"], tmp_path / "out")


@pytest.mark.parametrize("blocked", ["out", "out/sub", "out/overlays"])
def test_a_file_where_a_folder_is_to_be_is_named(tmp_path, blocked):
    make(tmp_path, "in/sub/a.png")
    (tmp_path / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / blocked).touch()
    with pytest.raises(InputError, match=f"{blocked} is (a file|no folder)"):
        plan_predictions([tmp_path / "in"], tmp_path / "out", overlays=True)


def test_two_pictures_of_one_name_from_two_folders_are_refused(tmp_path):
    make(tmp_path, "day/a.jpg", "night/a.jpg")
    with pytest.raises(InputError, match=r"day/a\.jpg and .*night/a\.jpg would both become .*a\.jpg\.png"):
        plan_predictions([tmp_path / "day", tmp_path / "night"], tmp_path / "out")


def test_names_that_differ_in_case_alone_are_one_where_the_disk_folds_it(tmp_path, monkeypatch):
    make(tmp_path, "in/A.jpg", "in/a.png", "in/\u00e9.png", "in/e\u0301.png")
    assert {*planned(tmp_path / "in", tmp_path / "out").values()} == {"A.png", "a.png", "\u00e9.png", "e\u0301.png"}
    monkeypatch.setattr(planning, "folds_case", lambda folder: folder == tmp_path)
    with pytest.raises(InputError, match="would both become"):
        plan_predictions([tmp_path / "in"], tmp_path / "out")
    (tmp_path / "in" / "e\u0301.png").unlink()
    assert {*planned(tmp_path / "in", tmp_path / "out").values()} == {"A.jpg.png", "a.png.png", "\u00e9.png"}


def test_a_folder_that_cannot_be_written_is_said_before_the_model_is_loaded(tmp_path, monkeypatch):
    make(tmp_path, "in/a.png")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="nothing can be written in"):
        plan_predictions([tmp_path / "in"], tmp_path / "out" / "new")
