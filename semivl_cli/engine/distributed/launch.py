"""Starts the processes of a training on this machine by torchrun's own launcher."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence

import torch

from semivl_cli.errors import InputError, RunError
from semivl_cli.processes import usable_cores


def launch(count: int, device: str, arguments: Sequence[str]) -> int:
    """Run `semivl ARGUMENTS` in `count` processes of this machine by torchrun's launcher; returns the exit code.

    Raises:
        InputError: there are not as many GPUs, unless the CPU is asked for by name.
        RunError: a process was killed.
    """
    if ":" in device:
        raise InputError(f"--gpus {count} with --device {device}: one names several GPUs, the other one; leave one out")
    seen = torch.cuda.device_count()
    if device != "cpu" and count > seen:
        raise InputError(
            f"--gpus {count}: torch sees {seen} GPU(s) here; start at most as many, or try --device cpu, which runs "
            f"{count} processes on the cores"
        )
    from torch.distributed.elastic.multiprocessing import SignalException  # noqa: PLC0415 - it takes a second
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: PLC0415
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch  # noqa: PLC0415

    logging.disable(logging.CRITICAL)  # what failed is said by the process that failed
    os.environ.setdefault("OMP_NUM_THREADS", str(max(usable_cores() // count, 1)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "300")  # a stop waits for an evaluation
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id="semivl",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
    )
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # as nohup leaves it, the processes too
        config.signals_to_handle = "SIGTERM,SIGINT,SIGQUIT"
    try:
        elastic_launch(config, sys.executable)("-m", "semivl_cli", *arguments)
    except SignalException as error:
        return 128 + error.sigval
    except ChildFailedError as error:
        return _exit_code([failure.exitcode for failure in error.failures.values()])
    return 0


def _exit_code(codes: Sequence[int]) -> int:
    """Return what the processes that failed end with; once one is lost, the launcher stops the others by a signal.

    It does so too where one ended by itself, whose code then counts: SIGTERM, which ends one that is only starting, is
    no loss.

    Raises:
        RunError: a process was killed.
    """
    own = [code for code in codes if 0 < code < 128]
    lost = [-code for code in codes if code < 0 and not (own and code == -signal.SIGTERM)]
    if lost:
        raise RunError(
            f"a process of the training was killed by signal {lost[0]}, mostly for lack of memory: the run stands at "
            "its last checkpoint; go on with --resume"
        ) from None
    return max(own or codes)
