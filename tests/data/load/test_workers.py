import functools
import gc
import mmap
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

from semivl_cli.config import DataSettings
from semivl_cli.data.choose.index import build_index
from semivl_cli.data.contract import Record
from semivl_cli.errors import InputError, RunError


def test_workers_change_nothing_and_touch_no_global_generator(index, same, batches):
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state()
    alone, helped = batches(index), batches(index, workers=2)
    assert len(alone) == len(helped) == 3
    assert all(same(one, two) for one, two in zip(alone, helped, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.rand() == pytest.approx(0.5488135)


def test_a_long_list_of_images_is_mapped_by_the_workers_not_copied(world, index, monkeypatch, same, batches):
    expected = batches(index)
    monkeypatch.setattr("semivl_cli.data.pool.records._SPILL", 100)
    long = build_index(Folder(), world.root, DataSettings(labels=4), seed=0, class_names=world.names)
    assert isinstance(long.unlabeled._records._data, mmap.mmap)
    assert all(same(one, two) for one, two in zip(batches(long, workers=1), expected, strict=True))


def test_batches_that_find_no_shared_memory_come_through_pipes_the_same(index, monkeypatch, same, batches):
    free = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr("semivl_cli.data.load.shared_memory.shutil.disk_usage", lambda _: free)
    said = []
    helped = batches(index, workers=1, say=said.append)
    assert all(same(one, two) for one, two in zip(helped, batches(index), strict=True))
    assert len(said) == (1 if Path("/dev/shm").is_dir() else 0)


def no_room(_):
    raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")


def test_a_batch_that_finds_the_shared_memory_full_is_not_lost(index, monkeypatch, same, batches):
    (batch,) = batches(index, 0, 1)
    monkeypatch.setattr("semivl_cli.data.load.workers.get_worker_info", lambda: "a worker")
    monkeypatch.setattr(torch.Tensor, "share_memory_", no_room)
    said = []
    assert all(same(one, batch) for one in batches(index, 0, 1, say=said.append))
    assert len(said) == 1
    assert "full" in said[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_file_is_one_line_wherever_it_is_read(index, workers, batches):
    index.labeled[0].image.write_bytes(b"broken")
    with pytest.raises(InputError) as caught:
        batches(index, workers=workers)
    assert str(caught.value) == f"{index.labeled[0].image}: not an image that can be read"


def test_a_worker_that_dies_is_told_with_the_remedy(index, monkeypatch, batches):
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)  # how long torch waits for the dead
    kill_self = functools.partial(signal.raise_signal, signal.SIGKILL)
    deadly = tuple(Record(id=record.id, image=kill_self) for record in index.unlabeled)
    with pytest.raises(RunError, match=r"data\.workers=0"):
        batches(replace(index, unlabeled=deadly), workers=1)
    gc.collect()  # while the wait is short


STOPPED = """
import signal, sys, os
from pathlib import Path
from semivl_plugins.folder import Folder
from semivl_cli.data.read.images import read_image
from semivl_cli.data.choose.index import build_index
from semivl_cli.config import DataSettings
from semivl_cli.settings_toml import resolve
from semivl_cli.data.load.batches import train_batches

if __name__ == "__main__":
    names = ("ground", "tree", "car")
    index = build_index(Folder(), Path(sys.argv[1]), DataSettings(labels=4), seed=0, class_names=names)
    batches = train_batches(index, Folder(), names, resolve({"data": {"crop": 24, "workers": 2}}), range(10**6))
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
from semivl_cli.config import DataSettings
from semivl_cli.settings_toml import resolve
from semivl_cli.data.load.batches import train_batches

if __name__ == "__main__":
    names = ("ground", "tree", "car")
    index = build_index(Folder(), Path(sys.argv[1]), DataSettings(labels=4), seed=0, class_names=names)
    batches = train_batches(index, Folder(), names, resolve({"data": {"crop": 24, "workers": 1}}), range(10**6))
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
