"""The processes of one training in torch.distributed's words; a single process passes through it untouched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from semivl_cli.errors import InputError, RunError, first_line

Value = TypeVar("Value")


@dataclass(kw_only=True)
class ProcessGroup:
    """The processes of one training, seen from one of them; alone, every method returns what it was given."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    """Number of this process on its machine."""
    local_world_size: int = 1
    sharing: int = 1
    """Processes that share the cores which this one may use."""
    url: str = ""
    """Where the processes meet."""
    restarted: bool = False
    """Whether the launcher has started these processes before."""
    restarts: bool = False
    """Whether the launcher may do so: one command then has to begin a run and to go on with it."""
    _asked_to_stop: tuple[Callable[[], object], Tensor] | None = field(default=None, repr=False)

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes and speaks for all."""
        return self.rank == 0

    def rank_slice(self, batch: int, unit: int) -> slice:
        """Positions of the global batch that this process computes, in whole units.

        Slices differ by a unit where the batch does not divide; since every image carries its weight in the global
        loss, and gradients are summed, that changes nothing.

        Raises:
            InputError: there are more processes than units.
        """
        units = batch // unit
        if units < self.world_size:
            raise InputError(
                f"training.batch = {batch} makes {units} part(s) of {unit} image(s) that must stay together, too few "
                f"for {self.world_size} processes: start at most {max(units, 1)}, or raise training.batch"
            )
        start, stop = (units * rank // self.world_size * unit for rank in (self.rank, self.rank + 1))
        return slice(start, stop if self.rank + 1 < self.world_size else batch)

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum a tensor over the processes, in place."""
        if self.world_size > 1:
            self.all_reduce_async(values)()
        return values

    def all_reduce_async(self, values: Tensor) -> Callable[[], object]:
        """Begin to sum a tensor over the processes, in place; what returns waits (a GPU does, not the caller)."""
        with _contact():
            work = dist.all_reduce(values, async_op=True)
        return _contact()(work.wait)

    def all_gather(self, own: Tensor, positions: slice, batch: int) -> Tensor:
        """Numbers of this process's images, `[M, b]` -> those of the global batch, `[M, B]`."""
        if self.world_size == 1:
            return own
        everyone = own.new_zeros((len(own), batch))
        everyone[:, positions] = own
        return self.all_reduce(everyone)

    def all_reduce_min(self, value: int) -> int:
        """Return the smallest value that any process has."""
        values = torch.zeros(self.world_size, dtype=torch.int64)
        values[self.rank] = value
        return int(self.all_reduce(values).min())

    def broadcast(self, value: Value) -> Value:
        """Return what the main process has."""
        if self.world_size == 1:
            return value
        objects: list[Any] = [value]
        with _contact():
            dist.broadcast_object_list(objects, src=0, device=torch.device("cpu"))
        return objects[0]  # type: ignore[no-any-return]  # what was put in comes out

    def barrier(self) -> None:
        """Wait until all are here."""
        self.all_reduce(torch.zeros(1))

    @contextmanager
    def local_main_first(self) -> Iterator[None]:
        """Let one process of each machine go first: what it fetches and keeps, the others find."""
        if self.local_rank:
            self.barrier()
        yield
        if not self.local_rank:
            self.barrier()

    def agree_to_stop(self, asked: int | None) -> int | None:
        """Say which signal asks this process to stop, and hear the signal that all obey.

        Among many the answer is that of the call before, the same for all: it has travelled, on the CPU, while the
        device computed, so nobody waits for it.
        """
        if self.world_size == 1:
            return asked
        before = self._asked_to_stop
        signals = torch.zeros(65, dtype=torch.int64)  # one place for every signal there is
        signals[asked or 0] = 1
        self._asked_to_stop = (self.all_reduce_async(signals), signals)
        if before is None:
            return None
        wait, signals = before
        wait()
        return next((number for number, processes in enumerate(signals.tolist()) if number and processes), None)

    def broadcast_weights(self, model: nn.Module) -> list[str]:
        """Give every process the main process's weights, and name those that differed before."""
        if self.world_size == 1:
            return []
        tensors = model.state_dict()
        own = torch.stack([_checksum(tensor) for tensor in tensors.values()]).cpu()
        main = own.clone()
        with _contact():
            dist.broadcast(main, src=0)
        differs = self.all_reduce((own != main).long())
        names = [name for name, count in zip(tensors, differs.tolist(), strict=True) if count]
        for name in names:
            weights = tensors[name].contiguous()
            with _contact():
                dist.broadcast(weights, src=0)
            tensors[name].copy_(weights)
        return names


ALONE = ProcessGroup()


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
            f"go on with --resume ({first_line(error)})"
        ) from error
