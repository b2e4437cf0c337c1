"""torch.distributed in one file: joins the processes of a launcher; a single process passes through it untouched."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from semivl_cli.errors import InputError, RunError, SemiVLError
from semivl_cli.processes import usable_cores

MEETING = timedelta(minutes=10)
"""How long processes wait for each other to appear."""
PATIENCE = timedelta(minutes=30)
"""How long a process waits for what another does alone (a checkpoint, a long look at the masks); one that died is
noticed at once, by its closed connection."""

Value = TypeVar("Value")


@dataclass(kw_only=True)
class Team:
    """The processes of one training, seen from one of them; alone, every method returns what it was given."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    """Number of this process on its machine."""
    local_count: int = 1
    sharing: int = 1
    """Processes that share the cores which this one may use."""
    url: str = ""
    """Where the processes meet."""
    restarted: bool = False
    """Whether the launcher has started these processes before."""
    restarts: bool = False
    """Whether the launcher may do so: one command then has to begin a run and to go on with it."""
    _wish: tuple[dist.Work | None, Tensor] | None = field(default=None, repr=False)

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def share(self, batch: int, unit: int) -> slice:
        """Positions of the global batch that this process computes, in whole units.

        Shares differ by a unit where the batch does not divide; since every image carries its weight in the global
        loss, and gradients are summed, that changes nothing.

        Raises:
            InputError: there are more processes than units.
        """
        units = batch // unit
        if units < self.count:
            raise InputError(
                f"training.batch = {batch} makes {units} part(s) of {unit} image(s) that must stay together, too few "
                f"for {self.count} processes: start at most {max(units, 1)}, or raise training.batch"
            )
        start, stop = (units * rank // self.count * unit for rank in (self.rank, self.rank + 1))
        return slice(start, stop if self.rank + 1 < self.count else batch)

    def total(self, values: Tensor) -> Tensor:
        """Sum a tensor over the processes, in place."""
        if self.count > 1:
            self.receive(self.send(values))
        return values

    def send(self, values: Tensor) -> dist.Work | None:
        """Begin to sum a tensor over the processes, in place; `receive` waits for it (a GPU does, not the caller)."""
        with _contact():
            return dist.all_reduce(values, async_op=True)

    def receive(self, work: dist.Work | None) -> None:
        """Wait for what `send` began."""
        if work is not None:
            with _contact():
                work.wait()

    def least(self, value: int) -> int:
        """Return the smallest value that any process has."""
        if self.count == 1:
            return value
        values = torch.zeros(self.count, dtype=torch.int64)
        values[self.rank] = value
        return int(self.total(values).min())

    def tell(self, value: Value) -> Value:
        """Return what the leader has."""
        if self.count == 1:
            return value
        told: list[Any] = [value]
        with _contact():
            dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
        return told[0]  # type: ignore[no-any-return]  # what was put in comes out

    def wait(self) -> None:
        """Wait until all are here."""
        self.total(torch.zeros(1))

    @contextmanager
    def one_first(self) -> Iterator[None]:
        """Let one process of each machine go first: what it fetches and keeps, the others find."""
        if self.local_rank:
            self.wait()
        yield
        if not self.local_rank:
            self.wait()

    def agree_to_stop(self, wish: int | None) -> int | None:
        """Say which signal asks this process to stop, and hear the signal that all obey.

        Among many the answer is that of the call before, the same for all: it has travelled, on the CPU, while the
        device computed, so nobody waits for it.
        """
        if self.count == 1:
            return wish
        before = self._wish
        asked = torch.zeros(65, dtype=torch.int64)  # one place for every signal there is
        asked[wish or 0] = 1
        self._wish = (self.send(asked), asked)
        if before is None:
            return None
        work, heard = before
        self.receive(work)
        return next((number for number, processes in enumerate(heard.tolist()) if number and processes), None)

    def unlike(self, model: nn.Module) -> list[str]:
        """Give every process the leader's weights, and name those that differed before."""
        if self.count == 1:
            return []
        tensors = model.state_dict()
        sums = torch.stack([_checksum(tensor) for tensor in tensors.values()]).cpu()
        mine = sums.clone()
        with _contact():
            dist.broadcast(sums, src=0)
        differs = self.total((mine != sums).long())
        names = [name for name, count in zip(tensors, differs.tolist(), strict=True) if count]
        for name in names:
            told = tensors[name].contiguous()
            with _contact():
                dist.broadcast(told, src=0)
            tensors[name].copy_(told)
        return names


ALONE = Team()


def team_of(environment: Mapping[str, str]) -> Team:
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
        rank, count = number("RANK"), number("WORLD_SIZE")
        local_count = number("LOCAL_WORLD_SIZE", count)
        local_rank = number("LOCAL_RANK", rank % max(local_count, 1))
        restarts = number("TORCHELASTIC_MAX_RESTARTS", 0) > 0
        restarted = number("TORCHELASTIC_RESTART_COUNT", 0) > 0
        sharing, port, host = local_count, number("MASTER_PORT", 29500), environment.get("MASTER_ADDR", "")
        url = "env://"
    elif "SLURM_PROCID" in environment and _is_srun(environment):
        rank = number("SLURM_PROCID")
        count = number("SLURM_STEP_NUM_TASKS", number("SLURM_NTASKS", 1))
        local_rank = number("SLURM_LOCALID", 0)
        nodes = number("SLURM_STEP_NUM_NODES", number("SLURM_NNODES", 1))
        local_count = max(-(-count // max(nodes, 1)), local_rank + 1)
        sharing = 1 if usable_cores() <= number("SLURM_CPUS_PER_TASK", 0) else local_count
        restarts, restarted = True, number("SLURM_RESTART_COUNT", 0) > 0
        host = environment.get("MASTER_ADDR") or first_host(
            environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_NODELIST", "localhost")
        )
        port = number("MASTER_PORT", 20000 + number("SLURM_JOB_ID", 0) % 20000)
        url = f"tcp://{host}:{port}"
    else:
        return Team()
    if count <= 1:
        return Team(restarted=restarted, restarts=restarts)
    if not host:
        raise InputError("the environment has RANK and WORLD_SIZE but no MASTER_ADDR: where do the processes meet?")
    if rank >= count:
        raise InputError(f"the environment says process {rank} of {count}: they count from 0")
    return Team(
        rank=rank,
        count=count,
        local_rank=local_rank,
        local_count=local_count,
        sharing=sharing,
        url=url,
        restarted=restarted,
        restarts=restarts,
    )


def _is_srun(environment: Mapping[str, str]) -> bool:
    """Tell a task of `srun` from the batch script around it, which SLURM calls process 0 of as many."""
    return "SLURM_JOB_ID" not in environment or "SLURM_STEP_ID" in environment


def first_host(nodes: str) -> str:
    """Return the first name of a SLURM node list: `gpu[07-09,12],cpu1` -> `gpu07`."""
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", nodes).split(",")[0]


def launched() -> bool:
    """Whether a launcher has started this process as one of several."""
    return team_of(os.environ).count > 1


@contextmanager
def joined(gpus: int | None = None) -> Iterator[Team]:
    """Join the processes of the launcher that started this one, if any, and leave them at the end.

    Whichever process fails first lets its error pass and so be said; the others end silently with its exit code.

    Args:
        gpus: processes on this machine that the user asked for, if he did.

    Raises:
        InputError: the launcher started another number.
        RunError: the others do not appear.
    """
    team = team_of(os.environ)
    if gpus not in (None, team.local_count):
        raise InputError(f"--gpus {gpus}, but a launcher has started {team.local_count} process(es) on this machine")
    if team.count == 1:
        yield team
        return
    gpus = torch.cuda.is_available() and dist.is_nccl_available()
    try:
        store, _, _ = next(rendezvous(team.url, team.rank, team.count, timeout=MEETING))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus else "gloo",
            store=PrefixStore("training", store),
            rank=team.rank,
            world_size=team.count,
            timeout=PATIENCE,
        )
        team.wait()
    except (RuntimeError, OSError) as error:
        raise RunError(
            f"process {team.rank} of {team.count} does not reach the others ({str(error).splitlines()[0]}): are all "
            "of them started, and may they reach MASTER_ADDR and MASTER_PORT?"
        ) from error
    try:
        yield team
        dist.destroy_process_group()
    except (Exception, KeyboardInterrupt) as error:
        code = _exit_code(error)
        first = _first_to_fail(PrefixStore("end", store), code, team)
        if first is None:
            raise
        raise SystemExit(first) from None


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SemiVLError):
        return error.exit_code
    return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 70


def _first_to_fail(store: Store, code: int, team: Team) -> int | None:
    """Return `None` to the first process that fails, and to the others its exit code."""
    try:
        place = store.add("failed", 1)
        if place > 1:
            store.wait(["code"], timedelta(seconds=10))
            return int(store.get("code"))
        store.set("code", str(code))
        deadline = time.monotonic() + 5
        while team.leads and store.add("failed", 0) < team.count and time.monotonic() < deadline:
            time.sleep(0.05)  # the others may ask this very process
    except RuntimeError:  # the process that kept the store is gone without a word
        return None
    return None


def cuda_device(team: Team) -> torch.device:
    """Return the GPU of this process."""
    seen = torch.cuda.device_count()
    bound = seen == 1 and team.url.startswith("tcp")  # SLURM showed each process its own
    if team.local_rank >= seen and not bound:
        raise InputError(
            f"{team.local_count} processes run on this machine and torch sees {seen} GPU(s): start at most as many"
        )
    device = torch.device("cuda", 0 if bound else team.local_rank)
    torch.cuda.set_device(device)
    return device


def _checksum(tensor: Tensor) -> Tensor:
    """A number that differs where bits do, in all likelihood: int64, on the tensor's device."""
    words = torch.int32 if tensor.element_size() % 4 == 0 else torch.uint8
    return tensor.detach().reshape(-1).view(words).sum(dtype=torch.int64)


@contextmanager
def _contact() -> Iterator[None]:
    """Say in one line that another process is gone: torch would speak of sockets."""
    try:
        yield
    except RuntimeError as error:
        raise RunError(
            "another process of this training ended or does not answer: the run stands at its last checkpoint, "
            f"go on with --resume ({str(error).splitlines()[0]})"
        ) from error
