"""The device that computes: which one, how a model gets there, and at what precision it works."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from semivl_cli.config import RunConfig
from semivl_cli.engine.distributed.group import ALONE, ProcessGroup
from semivl_cli.errors import InputError
from semivl_cli.model.semivl import SemiVL


def pick_device(name: str, process_group: ProcessGroup = ALONE) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:1` into a device that is there; among many processes, into this one's.

    From then on, what stays float32 on a GPU is multiplied in TF32, as the published code's PyTorch did unasked.
    """
    device = _named_device(name, process_group)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    return device


def _named_device(name: str, process_group: ProcessGroup) -> torch.device:
    if process_group.world_size > 1 and (name == "cuda" or (name == "auto" and torch.cuda.is_available())):
        return _own_gpu(process_group)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device {name!r}: expected auto, cpu, cuda or cuda:N") from error
    if process_group.world_size > 1 and device.type == "cuda":
        raise InputError(f"device {name!r} is one GPU for {process_group.world_size} processes: say --device cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r} is not here: torch sees {torch.cuda.device_count()} CUDA devices; try --device cpu"
        )
    return device


def to_device(model: SemiVL, device: torch.device) -> SemiVL:
    """Move the model to `device`, its convolutions in the memory order that they are fastest in (channels last)."""
    return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


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
