"""The device that computes: which one, how a model gets there, and at what precision it works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from semivl_cli.config import RunConfig
from semivl_cli.engine.distributed.group import ALONE, ProcessGroup
from semivl_cli.errors import InputError
from semivl_cli.model.semivl import SemiVL


def pick_device(name: str, process_group: ProcessGroup = ALONE) -> torch.device:
    """Turn `auto`, `cpu`, `cuda`, `cuda:1` or `mps` into a device that is there; among many processes, into this one's.

    From then on, what stays float32 on a GPU is multiplied in TF32, as the published code's PyTorch did unasked.
    """
    device = _named_device(name, process_group)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    return device


def is_here(name: str, process_group: ProcessGroup = ALONE) -> bool:
    """Whether `pick_device` would find the device."""
    try:
        _named_device(name, process_group)
    except InputError:
        return False
    return True


def _named_device(name: str, process_group: ProcessGroup) -> torch.device:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise InputError(f"unknown device {name!r}: expected auto, cpu, cuda, cuda:N or mps")
    several = process_group.world_size > 1
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if _sees_mps() and not several else "cpu"
    if several and name == "cuda":
        return _own_gpu(process_group)
    if several and name != "cpu":
        raise InputError(f"device {name!r} is one GPU for {process_group.world_size} processes: say --device cuda")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r} is not here: torch sees {torch.cuda.device_count()} CUDA devices; try --device cpu"
        )
    if device.type == "mps" and not _sees_mps():
        raise InputError("device 'mps' is not here: torch sees no GPU of Apple's; try --device cpu")
    return device


def _sees_mps() -> bool:
    return torch.backends.mps.is_available()


def in_words(device: torch.device) -> str:
    """Name a device as people know it."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"the CPU ({threads} thread{'s'[: threads > 1]})" if device.type == "cpu" else "the GPU of this Mac"


def to_device(model: SemiVL, device: torch.device) -> SemiVL:
    """Move the model to `device`, its convolutions in the memory order that they are fastest in (channels last)."""
    return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def widest_float(device: torch.device) -> torch.dtype:
    """Return float64, or float32 where the device has none wider: Apple's GPUs."""
    return torch.float32 if device.type == "mps" else torch.float64


@contextmanager
def memory_watched() -> Iterator[None]:
    """Let a CPU or an Apple GPU that has no memory left say so as a CUDA device does: by `torch.OutOfMemoryError`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and not re.search(r"out of memory|can't allocate|enough memory", str(error)):
            raise
        raise torch.OutOfMemoryError(str(error)) from error


def autocast(config: RunConfig, device: torch.device) -> AbstractContextManager[Any]:
    """bf16 where the settings say so, in training, evaluation and prediction alike."""
    wanted = config.training.precision
    if wanted == "bf16" or (wanted == "auto" and device.type == "cuda"):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def _own_gpu(process_group: ProcessGroup) -> torch.device:
    """Return the GPU of this process."""
    seen = torch.cuda.device_count()
    bound = seen == 1 and process_group.url.startswith("tcp")  # SLURM showed each process its own
    if process_group.local_rank >= seen and not bound:
        raise InputError(
            f"{process_group.local_world_size} processes run on this machine and torch sees {seen} GPU(s): start at "
            "most as many"
        )
    device = torch.device("cuda", 0 if bound else process_group.local_rank)
    torch.cuda.set_device(device)
    return device
