"""How much memory a device has, and the most that was in use: a GPU's by its allocator, main memory by Linux."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from semivl_cli.errors import InputError

MARGIN = 0.1
"""Share of the memory that is left free: later steps and evaluations need a little more, in other pieces."""


_FULL = (
    *("can't allocate memory", "not enough memory", "out of memory", "Insufficient memory", "bad_alloc"),
    *("ALLOC_FAILED", "could not create a primitive"),
)
"""What errors of libraries hold where memory was lacking."""


@dataclass(frozen=True)
class CudaMeter:
    """What PyTorch's allocator holds of a GPU, in bytes."""

    device: torch.device

    def start(self) -> int:
        """Begin to watch for the peak; returns what is in use now, the rest given back."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        return torch.cuda.memory_reserved(self.device)

    def peak(self) -> int:
        """Return the most that was held since `start`, with the gaps."""
        return torch.cuda.max_memory_reserved(self.device)

    def limit(self) -> int:
        """Return what is held or free: how much this process may use."""
        return int((torch.cuda.mem_get_info(self.device)[0] + torch.cuda.memory_reserved(self.device)) * (1 - MARGIN))


@dataclass(frozen=True)
class LinuxMeter:
    """Main memory of this process; Linux remembers its peak, and ends who takes too much, so nothing is risked."""

    processes: int
    """That share the machine."""

    def start(self) -> int:
        """Let the peak begin at what is in use, which is returned."""
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _kilobytes("/proc/self/status", "VmRSS")

    def peak(self) -> int:
        """Return the largest resident size."""
        return _kilobytes("/proc/self/status", "VmHWM")

    def limit(self) -> int:
        """Return what is in use and this process's part of what the machine, or its container, has left."""
        free = min(_kilobytes("/proc/meminfo", "MemAvailable"), _left_in_groups())
        return int(_kilobytes("/proc/self/status", "VmRSS") + free / self.processes * (1 - MARGIN))


Meter = CudaMeter | LinuxMeter


def meter_of(device: torch.device, processes: int) -> Meter:
    """Return the meter of a device; raises `InputError` where there is none. `processes` share this machine."""
    if device.type == "cuda":
        return CudaMeter(device)
    if device.type == "cpu" and Path("/proc/self/clear_refs").exists():
        return LinuxMeter(processes)
    raise InputError(
        f"memory cannot be measured on {device.type} here: give a number in place of --fit, as --set "
        "training.micro_batch=2"
    )


def free_memory() -> int | None:
    """Return the bytes of main memory that this process may still take; `None` where only Linux would know."""
    return LinuxMeter(1).limit() - _kilobytes("/proc/self/status", "VmRSS") if Path("/proc/meminfo").exists() else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory is full: Python's own, or what torch, OpenCV and their libraries raise."""
    said = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in said for words in _FULL)


def _kilobytes(file: str, name: str) -> int:
    """Read a line such as `VmHWM:  1024 kB`; returns bytes."""
    match = re.search(rf"^{name}:\s+(\d+) kB", Path(file).read_text(encoding="ascii"), re.MULTILINE)
    assert match is not None, f"Linux has {name} in {file}"
    return 1024 * int(match[1])


def _left_in_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Return the bytes that the control groups of this process leave it: a container, a SLURM job (cgroup v2).

    What a group holds of files that were read makes room when asked: it counts as left.
    """
    match = re.search(r"^0::/(.*)$", own.read_text(encoding="utf-8"), re.MULTILINE) if own.exists() else None
    group, left = root / match[1] if match else root, [2**62]
    for folder in (group, *group.parents):
        most, now, parts = (folder / f"memory.{name}" for name in ("max", "current", "stat"))
        if most.is_file() and now.is_file() and (text := most.read_text(encoding="ascii").strip()) != "max":
            told = parts.read_text(encoding="ascii") if parts.is_file() else ""
            files = sum(map(int, re.findall(r"^(?:in)?active_file (\d+)$", told, re.MULTILINE)))
            left.append(max(int(text) - max(int(now.read_text(encoding="ascii")) - files, 0), 0))
    return min(left)
