"""Joins the processes that a launcher (torchrun, SLURM) started, and leaves them so that one says what failed."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from semivl_cli.engine.distributed.group import ProcessGroup
from semivl_cli.errors import InputError, RunError, SemiVLError, first_line
from semivl_cli.processes import usable_cores

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds of waiting that need no word."""


def process_group_of(environment: Mapping[str, str]) -> ProcessGroup:
    """Read which process this is from the variables of torchrun and its like, or from SLURM's.

    Raises:
        InputError: the variables contradict each other, or one is missing.
    """

    def number(name: str, default: int | None = None) -> int:
        text = environment.get(name, "" if default is None else str(default))
        if not text.isdigit():
            raise InputError(f"the environment has {name} = {text!r}: a launcher sets it to a number")
        return int(text)

    if "RANK" in environment and "WORLD_SIZE" in environment:
        rank, world_size, url = number("RANK"), number("WORLD_SIZE"), "env://"
        local_world_size = number("LOCAL_WORLD_SIZE", world_size)
        local_rank = number("LOCAL_RANK", rank % max(local_world_size, 1))
        restarts = number("TORCHELASTIC_MAX_RESTARTS", 0) > 0
        restarted = number("TORCHELASTIC_RESTART_COUNT", 0) > 0
        sharing, host = local_world_size, environment.get("MASTER_ADDR", "")
        number("MASTER_PORT", 29500)  # torch reads it
    # A task of `srun`, not the batch script around it, which SLURM calls process 0 of as many.
    elif "SLURM_PROCID" in environment and ("SLURM_JOB_ID" not in environment or "SLURM_STEP_ID" in environment):
        rank, local_rank = number("SLURM_PROCID"), number("SLURM_LOCALID", 0)
        world_size = number("SLURM_STEP_NUM_TASKS", number("SLURM_NTASKS", 1))
        nodes = number("SLURM_STEP_NUM_NODES", number("SLURM_NNODES", 1))
        local_world_size = max(-(-world_size // max(nodes, 1)), local_rank + 1)
        restarts, restarted = True, number("SLURM_RESTART_COUNT", 0) > 0
        sharing = 1 if usable_cores() <= number("SLURM_CPUS_PER_TASK", 0) else local_world_size
        listed = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_NODELIST", "localhost")
        host = environment.get("MASTER_ADDR") or first_host(listed)
        url = f"tcp://{host}:{number('MASTER_PORT', 20000 + number('SLURM_JOB_ID', 0) % 20000)}"
    else:
        return ProcessGroup()
    if world_size <= 1:
        return ProcessGroup(restarted=restarted, restarts=restarts)
    if not host:
        raise InputError("the environment has RANK and WORLD_SIZE but no MASTER_ADDR: where do the processes meet?")
    if rank >= world_size:
        raise InputError(f"the environment says process {rank} of {world_size}: they count from 0")
    return ProcessGroup(
        rank=rank,
        world_size=world_size,
        local_rank=local_rank,
        local_world_size=local_world_size,
        sharing=sharing,
        url=url,
        restarted=restarted,
        restarts=restarts,
    )


def first_host(nodes: str) -> str:
    """Return the first name of a SLURM node list: `gpu[07-09,12],cpu1` -> `gpu07`."""
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", nodes).split(",")[0]


def launched() -> bool:
    """Whether a launcher has started this process as one of several."""
    return process_group_of(os.environ).world_size > 1


@contextmanager
def joined(gpus: int | None = None, say: Callable[[str], None] = lambda _: None) -> Iterator[ProcessGroup]:
    """Join the processes of the launcher that started this one, if any, and leave them at the end.

    Whichever process fails first lets its error pass and so be said; the others end silently with its exit code.

    Args:
        gpus: processes on this machine that the user asked for, if he did.
        say: takes a line where the others are waited for.

    Raises:
        InputError: the launcher started another number.
        RunError: the others do not appear.
    """
    process_group = process_group_of(os.environ)
    if gpus not in (None, process_group.local_world_size):
        raise InputError(
            f"--gpus {gpus}, but a launcher has started {process_group.local_world_size} process(es) on this machine"
        )
    if process_group.world_size == 1:
        yield process_group
        return
    rank, world_size = process_group.rank, process_group.world_size
    nccl = torch.cuda.is_available() and dist.is_nccl_available()

    def meet() -> Store:
        store: Store = next(rendezvous(process_group.url, rank, world_size, timeout=timedelta(minutes=10)))[0]
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if nccl else "gloo",
            store=PrefixStore("training", store),
            rank=rank,
            world_size=world_size,
            # For what one does alone (a checkpoint, reading all masks); who died is noticed at once, by its connection.
            timeout=timedelta(minutes=30),
        )
        process_group.barrier()
        return store

    try:
        store = _patiently(meet, f"process {rank} of {world_size} waits for the others to start", say)
    except (RuntimeError, OSError) as error:
        raise RunError(
            f"process {rank} of {world_size} does not reach the others ({first_line(error)}): are all of them "
            "started, and may they reach MASTER_ADDR and MASTER_PORT?"
        ) from error
    try:
        yield process_group
        dist.destroy_process_group()
    except (Exception, KeyboardInterrupt) as error:
        code = 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 70
        code = error.exit_code if isinstance(error, SemiVLError) else code
        first = _first_to_fail(PrefixStore("end", store), code, process_group)
        if first is None:
            raise
        raise SystemExit(first) from None


def _patiently(wait: Callable[[], T], what: str, say: Callable[[str], None]) -> T:
    """Return what `wait` returns, and say `what` after a while; signals are heard, to which waits of torch are deaf."""
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(wait())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return found.result(PATIENCE)
    except FutureTimeout:
        if found.done():
            raise
        say(what)
    return found.result()


def _first_to_fail(store: Store, code: int, process_group: ProcessGroup) -> int | None:
    """Return `None` to the first process that fails, and to the others its exit code."""
    with suppress(RuntimeError):  # the process that kept the store is gone without a word
        if store.add("failed", 1) > 1:
            store.wait(["code"], timedelta(seconds=10))
            return int(store.get("code"))
        store.set("code", str(code))
        deadline = time.monotonic() + 5
        while process_group.is_main and time.monotonic() < deadline:
            if store.add("failed", 0) >= process_group.world_size:
                break
            time.sleep(0.05)  # the others may ask this very process
    return None
