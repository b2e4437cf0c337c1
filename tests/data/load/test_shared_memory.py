import re
import shutil

import pytest

from semivl_cli.data.load import shared_memory as transport
from semivl_cli.data.load.shared_memory import choose_transport, why_worker_died

MIB = 2**20


@pytest.fixture
def shared(monkeypatch, tmp_path):
    """Set the free shared memory, in MiB."""
    monkeypatch.setattr(transport, "_SHARED_MEMORY", tmp_path)

    def free(size):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(size * MIB, 0, size * MIB))

    return free


def test_enough_shared_memory_says_nothing(shared):
    shared(1000)
    assert choose_transport(24 * MIB, 8, 1) == transport.Transport()


def test_without_workers_or_elsewhere_than_on_linux_nothing_is_asked(shared, monkeypatch, tmp_path):
    shared(1)
    assert choose_transport(24 * MIB, 0, 1) == transport.Transport()
    monkeypatch.setattr(transport, "_SHARED_MEMORY", tmp_path / "absent")
    assert choose_transport(24 * MIB, 8, 1) == transport.Transport()


def test_less_makes_fewer_batches_ahead_and_little_goes_through_pipes(shared):
    shared(300)
    fewer = choose_transport(24 * MIB, 8, 1)
    assert (fewer.prefetch, fewer.pipes) == (1, False)
    assert "300 MiB free and batches under way need 432 MiB: fewer are made ahead" in fewer.note
    shared(64)  # what a container has unless told otherwise
    pipes = choose_transport(24 * MIB, 8, 1)
    assert (pipes.prefetch, pipes.pipes) == (1, True)
    assert "copied through pipes" in pipes.note
    assert "--shm-size" in pipes.note


def test_processes_share_the_memory_of_their_machine(shared):
    shared(1000)
    assert choose_transport(24 * MIB, 8, 2).prefetch == 2
    assert choose_transport(24 * MIB, 8, 4).prefetch == 1
    assert choose_transport(24 * MIB, 8, 8).pipes


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible", "shared memory .* is full"),
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", "memory ran out.*data.workers=1"),
        ("DataLoader worker (pid(s) 7) exited unexpectedly", "data.workers=0"),
    ],
)
def test_a_dead_worker_is_explained(message, expected):
    assert re.search(expected, why_worker_died(message))
