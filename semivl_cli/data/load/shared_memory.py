"""How batches come from workers: through shared memory where it holds all that are under way, else through pipes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

PREFETCH = 2
"""Batches that a worker makes ahead."""

_SHARED_MEMORY = Path("/dev/shm")
_USABLE = 0.9
"""Share of the free shared memory that may be filled: others live there too."""


SHARED_MEMORY_IS_FULL = (
    f"{_SHARED_MEMORY} is full (something else fills it): batches that find no room come through pipes, which is slower"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transport:
    """What keeps batches from filling the shared memory, which would kill the worker that writes there."""

    prefetch: int = PREFETCH
    pipes: bool = False
    """Whether batches are copied through pipes, which need no shared memory."""
    note: str = ""
    """What the user should know, if anything."""


def choose_transport(batch_bytes: int, workers: int, processes: int) -> Transport:
    """Choose for batches of a size, made by so many workers for each of so many processes of one machine."""
    if not workers or not _SHARED_MEMORY.is_dir():  # elsewhere than on Linux shared memory has no size of its own
        return Transport()
    free = shutil.disk_usage(_SHARED_MEMORY).free

    def needed(prefetch: int) -> int:  # made ahead, and the last two that the training has taken
        return processes * (workers * prefetch + 2) * batch_bytes

    if needed(PREFETCH) <= _USABLE * free:
        return Transport()
    space = f"{_SHARED_MEMORY} has {_mib(free)} MiB free and batches under way need {_mib(needed(PREFETCH))} MiB"
    remedy = "more shared memory (docker run --shm-size=8g, --ipc=host) or fewer data.workers lets them come freely"
    if needed(1) <= _USABLE * free:
        return Transport(prefetch=1, note=f"{space}: fewer are made ahead; {remedy}")
    return Transport(prefetch=1, pipes=True, note=f"{space}: they are copied through pipes, which is slower; {remedy}")


def why_worker_died(message: str) -> str:
    """Explain, from the words of torch, what killed a worker and what helps."""
    if "Bus error" in message:
        return (
            f"the shared memory {_SHARED_MEMORY} is full (something else may fill it): give it more "
            "(docker run --shm-size=8g), or read without such processes: --set data.workers=0"
        )
    if "Killed" in message:
        return (
            "something killed it, mostly the kernel because memory ran out: --set data.workers=1 needs less, "
            "--set data.workers=0 reads without such processes"
        )
    return "mostly too little memory: --set data.workers=0 reads without such processes"


def _mib(size: int) -> int:
    return -(-size // 2**20)
