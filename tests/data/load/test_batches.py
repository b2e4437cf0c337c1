import dataclasses
import gc
import mmap
import os
import pickle
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from semivl_plugins.folder import Folder

from semivl_cli.data.choose.index import build_index
from semivl_cli.data.contract import Record
from semivl_cli.data.load.batches import Batch, ViewSettings, train_batches, val_samples
from semivl_cli.data.read.images import read_image
from semivl_cli.errors import InputError, RunError

SETTINGS = ViewSettings(crop=24)


@pytest.fixture
def index(world):
    return build_index(Folder(), world.root, labels="4", seed=0, class_names=world.names, missing="refuse")


def batches(index, start=0, stop=3, *, settings=SETTINGS, batch=4, seed=0, workers=0, **more) -> list[Batch]:
    names = ("ground", "tree", "car")
    made = train_batches(
        index, Folder(), names, settings, batch=batch, seed=seed, start_step=start, stop_step=stop, workers=workers,
        pin=False, **more,
    )  # fmt: skip
    return list(made)


TENSORS = ("x_image", "x_label", "u_image", "u_ignore", "partner_image", "partner_ignore", "boxes")


def same(one: Batch, two: Batch) -> bool:
    tensors = all(torch.equal(getattr(one, name), getattr(two, name)) for name in TENSORS)
    return tensors and (one.step, one.colors, one.partner_colors) == (two.step, two.colors, two.partner_colors)


def test_a_batch_has_the_promised_shapes(index):
    (batch,) = batches(index, 5, 6)
    assert batch.step == 5
    for image in (batch.x_image, batch.u_image, batch.partner_image):
        assert (image.dtype, tuple(image.shape)) == (torch.uint8, (4, 3, 24, 24))
        assert image.is_contiguous()
    for mask in (batch.x_label, batch.u_ignore, batch.partner_ignore):
        assert (mask.dtype, tuple(mask.shape)) == (torch.uint8, (4, 24, 24))
    assert (batch.boxes.dtype, tuple(batch.boxes.shape)) == (torch.int64, (2, 4, 4))
    assert [len(view) for view in batch.colors] == [len(view) for view in batch.partner_colors] == [4, 4]
    assert set(batch.x_label.unique().tolist()) <= {0, 1, 2, 255}


def test_steps_differ_and_a_seed_repeats_them(index):
    first, again, other = batches(index), batches(index), batches(index, seed=1)
    assert all(same(one, two) for one, two in zip(first, again, strict=True))
    assert not any(same(one, two) for one, two in zip(first, other, strict=True))
    assert not same(first[0], first[1])


def test_a_run_that_is_resumed_goes_on_as_if_it_had_not_stopped(index):
    assert all(same(one, two) for one, two in zip(batches(index, 0, 6)[3:], batches(index, 3, 6), strict=True))


def cut(batch, share):
    """The images `share` of a batch, field by field."""
    per_view = {"colors", "partner_colors", "boxes"}
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    for name, value in fields.items():
        if name in per_view:
            fields[name] = tuple(view[share] for view in value) if isinstance(value, tuple) else value[:, share]
        elif name != "step":
            fields[name] = value[share]
    return dataclasses.replace(batch, **fields)


def test_the_share_of_a_process_is_a_part_of_the_whole(index):
    whole = batches(index, 2, 4)
    for share in (slice(0, 1), slice(1, 4)):
        parts = batches(index, 2, 4, positions=share)
        assert all(same(part, cut(batch, share)) for part, batch in zip(parts, whole, strict=True))


def test_workers_change_nothing_and_touch_no_global_generator(index):
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state()
    alone, helped = batches(index), batches(index, workers=2)
    assert len(alone) == len(helped) == 3
    assert all(same(one, two) for one, two in zip(alone, helped, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.rand() == pytest.approx(0.5488135)


def test_a_long_list_of_images_is_mapped_by_the_workers_not_copied(world, index, monkeypatch):
    expected = batches(index)
    monkeypatch.setattr("semivl_cli.data.pool.records._SPILL", 100)
    long = build_index(Folder(), world.root, labels="4", seed=0, class_names=world.names, missing="refuse")
    assert isinstance(long.unlabeled._records._data, mmap.mmap)
    assert all(same(one, two) for one, two in zip(batches(long, workers=1), expected, strict=True))


def test_batches_that_find_no_shared_memory_come_through_pipes_the_same(index, monkeypatch):
    free = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr("semivl_cli.data.load.transport.shutil.disk_usage", lambda _: free)
    said = []
    helped = batches(index, workers=1, say=said.append)
    assert all(same(one, two) for one, two in zip(helped, batches(index), strict=True))
    assert len(said) == (1 if Path("/dev/shm").is_dir() else 0)


def no_room(_):
    raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")


def test_a_batch_that_finds_the_shared_memory_full_is_not_lost(index, monkeypatch):
    (batch,) = batches(index, 0, 1)
    monkeypatch.setattr("semivl_cli.data.load.batches.get_worker_info", lambda: "a worker")
    monkeypatch.setattr(torch.Tensor, "share_memory_", no_room)
    said = []
    assert all(same(one, batch) for one in batches(index, 0, 1, say=said.append))
    assert len(said) == 1
    assert "full" in said[0]


def test_each_image_comes_once_before_any_comes_again(index):
    shade = {}  # the darkest pixel tells which image a crop is from
    for record in index.unlabeled:
        shade[int(read_image(record.image).min())] = record.id
    assert len(shade) == len(index.unlabeled)
    whole = ViewSettings(crop=64, scale_range=(1.0, 1.0), flip=0.0)
    seen = []
    for batch in batches(index, 0, 13, settings=whole):
        for image, ignore in zip(batch.u_image, batch.u_ignore, strict=True):
            seen.append(shade[int(image[:, ignore == 0].min())])
    for epoch in range(4):
        assert len(set(seen[13 * epoch : 13 * epoch + 13])) == 13
    assert seen[:13] != seen[13:26]


def test_few_images_fill_a_large_batch(index):
    few = replace(index, labeled=index.labeled[:1], unlabeled=index.unlabeled[:2])
    (batch,) = batches(few, 0, 1, batch=8)
    assert batch.x_image.shape[0] == batch.u_image.shape[0] == 8


def test_the_partner_is_another_crop_of_the_same_image(index):
    still = replace(SETTINGS, scale_range=(1.0, 1.0), crop=8)
    for batch in batches(index, settings=still):
        levels = batch.u_image.amin(dim=(1, 2, 3)).int() - batch.partner_image.amin(dim=(1, 2, 3)).int()
        assert levels.abs().max() <= 50  # the gradient within an image
        assert not torch.equal(batch.u_image, batch.partner_image)
        assert batch.colors != batch.partner_colors


def test_a_pair_needs_no_second_crop(index):
    (same_image,) = batches(index, 0, 1)
    (pair,) = batches(index, 0, 1, settings=replace(SETTINGS, partner="pair"))
    assert pair.partner_image is None
    assert pair.partner_ignore is None
    assert pair.partner_colors is None
    assert torch.equal(pair.u_image, same_image.u_image)


def test_without_need_nothing_unlabelled_is_read(index):
    broken = replace(index, unlabeled=())
    (batch,) = batches(broken, 0, 1, need_unlabeled=False)
    assert batch.u_image is batch.u_ignore is batch.partner_image is batch.colors is batch.boxes is None
    assert torch.equal(batch.x_image, batches(index, 0, 1)[0].x_image)
    assert batch.to(torch.device("cpu")).x_label.shape == (4, 24, 24)


def test_without_unlabelled_images_the_remedy_is_told(index):
    with pytest.raises(InputError, match=r"no image is unlabelled.*--labels"):
        batches(replace(index, unlabeled=()))


def test_unlabelled_masks_are_never_read(index):
    def fail():
        raise AssertionError("an unlabelled mask was read")

    poisoned = tuple(Record(id=record.id, image=record.image, label=fail) for record in index.unlabeled)
    batches(replace(index, unlabeled=poisoned))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_file_is_one_line_wherever_it_is_read(index, workers):
    index.labeled[0].image.write_bytes(b"broken")
    with pytest.raises(InputError) as caught:
        batches(index, workers=workers)
    assert str(caught.value) == f"{index.labeled[0].image}: not an image that can be read"


def kill_self() -> np.ndarray:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_worker_that_dies_is_told_with_the_remedy(index, monkeypatch):
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)  # how long torch waits for the dead
    deadly = tuple(Record(id=record.id, image=kill_self) for record in index.unlabeled)
    with pytest.raises(RunError, match=r"data\.workers=0"):
        batches(replace(index, unlabeled=deadly), workers=1)
    gc.collect()  # while the wait is short


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_comes_in_order_with_labels_at_their_own_size(index, world, workers):
    samples = list(val_samples(index.val, Folder(), world.names, short_side=40, workers=workers))
    assert [record.id for record, _, _ in samples] == ["v0", "v1", "v2"]
    for _, image, label in samples:
        assert (image.dtype, image.shape) == (np.uint8, (40, 60, 3))
        assert (label.dtype, label.shape) == (np.uint8, (20, 30))
    _, image, label = next(iter(val_samples(index.val, Folder(), world.names, short_side=None, workers=0)))
    assert image.shape[:2] == label.shape == (20, 30)
    assert list(val_samples((), Folder(), world.names, short_side=None, workers=workers)) == []


def test_a_batch_survives_pickling(index):
    (batch,) = batches(index, 0, 1)
    assert same(pickle.loads(pickle.dumps(batch)), batch)


STOPPED = """
import signal, sys, os
from pathlib import Path
from semivl_plugins.folder import Folder
from semivl_cli.data.read.images import read_image
from semivl_cli.data.choose.index import build_index
from semivl_cli.data.load.batches import ViewSettings, train_batches

if __name__ == "__main__":
    names = ("ground", "tree", "car")
    index = build_index(Folder(), Path(sys.argv[1]), labels="4", seed=0, class_names=names, missing="refuse")
    batches = train_batches(index, Folder(), names, ViewSettings(crop=24), batch=4, seed=0, start_step=0,
                            stop_step=10**6, workers=2, pin=False)
    stopped = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stopped.append(number))
    for step, batch in enumerate(batches):
        if step in (3, 10):
            os.killpg(0, signal.SIGINT if step == 3 else signal.SIGTERM)
        if step == 40:
            break
    batches.close()
    print("went on to", step, [int(number) for number in stopped])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
def test_workers_leave_stopping_to_the_parent(world, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(STOPPED)
    done = subprocess.run(
        [sys.executable, script, world.root],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"went on to 40 {[2, 15]}\n"
    assert done.stderr == ""


FORGOTTEN = """
import sys
from pathlib import Path
from semivl_plugins.folder import Folder
from semivl_cli.data.choose.index import build_index
from semivl_cli.data.load.batches import ViewSettings, train_batches

if __name__ == "__main__":
    names = ("ground", "tree", "car")
    index = build_index(Folder(), Path(sys.argv[1]), labels="4", seed=0, class_names=names, missing="refuse")
    batches = train_batches(index, Folder(), names, ViewSettings(crop=24), batch=4, seed=0, start_step=0,
                            stop_step=10**6, workers=1, pin=False)
    next(batches)
    raise RuntimeError("a mistake while batches are being made")
"""


def test_a_program_that_fails_ends_although_its_workers_ignore_signals(world, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(FORGOTTEN)
    done = subprocess.run(
        [sys.executable, script, world.root], check=False, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 1
    assert "a mistake while batches are being made" in done.stderr
