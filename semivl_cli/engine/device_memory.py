"""How much memory a device has, and the most that was in use: a GPU's by its allocator, main memory by Linux."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

import torch

from semivl_cli.errors import InputError

MARGIN = 0.1
"""Share of the memory that is left free: later steps and evaluations need a little more, in other pieces."""


class Meter(Protocol):
    """Measures the memory of one device, in bytes."""

    def start(self) -> int:
        """Begin to watch for the peak; returns what is in use now."""

    def peak(self) -> int:
        """Return the most that was in use since `start`."""

    def limit(self) -> int:
        """Return how much this process may use."""


class CudaMeter:
    """What PyTorch's allocator holds of a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def start(self) -> int:
        """Begin with what is in use, the rest given back."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        return torch.cuda.memory_reserved(self.device)

    def peak(self) -> int:
        """Return the most that was held, with the gaps."""
        return torch.cuda.max_memory_reserved(self.device)

    def limit(self) -> int:
        """Return what is held or free."""
        return int((torch.cuda.mem_get_info(self.device)[0] + torch.cuda.memory_reserved(self.device)) * (1 - MARGIN))


class LinuxMeter:
    """Main memory of this process; Linux remembers its peak, and ends who takes too much, so nothing is risked."""

    def __init__(self, processes: int) -> None:
        self.processes = processes

    def start(self) -> int:
        """Let the peak begin at what is in use."""
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _kilobytes("/proc/self/status", "VmRSS")

    def peak(self) -> int:
        """Return the largest resident size."""
        return _kilobytes("/proc/self/status", "VmHWM")

    def limit(self) -> int:
        """Return what is in use and this process's part of what the machine, or its container, has left."""
        free = min(_kilobytes("/proc/meminfo", "MemAvailable"), *_left_in_groups())
        return int(_kilobytes("/proc/self/status", "VmRSS") + free / self.processes * (1 - MARGIN))


def meter_of(device: torch.device, processes: int) -> Meter:
    """Return the meter of a device that `processes` on this machine use (a GPU has one).

    Raises:
        InputError: there is none.
    """
    if device.type == "cuda":
        return CudaMeter(device)
    if device.type == "cpu" and Path("/proc/self/clear_refs").exists():
        return LinuxMeter(processes)
    raise InputError(
        f"memory cannot be measured on {device.type} here: give a number in place of --fit, as --set "
        "training.micro_batch=2"
    )


def _kilobytes(file: str, name: str) -> int:
    """Read a line such as `VmHWM:  1024 kB`; returns bytes."""
    match = re.search(rf"^{name}:\s+(\d+) kB", Path(file).read_text(encoding="ascii"), re.MULTILINE)
    assert match is not None, f"Linux has {name} in {file}"
    return 1024 * int(match[1])


def _left_in_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Bytes that the control groups of this process leave it: a container, a SLURM job (cgroup v2)."""
    match = re.search(r"^0::/(.*)$", own.read_text(encoding="utf-8"), re.MULTILINE) if own.exists() else None
    left = []
    place = root / match[1] if match else root
    while place != root.parent:
        most, now = place / "memory.max", place / "memory.current"
        if most.is_file() and now.is_file() and (text := most.read_text(encoding="ascii").strip()) != "max":
            left.append(max(int(text) - int(now.read_text(encoding="ascii")), 0))
        place = place.parent
    return left or [2**62]
