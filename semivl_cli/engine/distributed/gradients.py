"""What processes tell each other in a step: counted pixels before it, gradients while they are computed."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from semivl_cli.engine.distributed.group import ALONE, Team

BUCKET_BYTES = 25 * 2**20
"""Gradients are sent in parcels of about this size: large enough to be fast, small enough to be early."""


class Exchange:
    """Speaks for one process, step after step; alone, it changes nothing.

    The gradients of the processes are summed, in parcels that leave as soon as their last gradient is there, while
    the backward pass goes on. torch's DistributedDataParallel would average them, and wants one call of the whole
    model and as many backward passes in every process; here encoder and decoder are called apart, shares may differ
    in size, and a process that runs out of memory computes its share again in smaller parts, of which the others
    need not know: what has left is not sent twice.

    Args:
        team: the processes.
        parameters: those that are trained.
        batch: images of the global batch.
        positions: those of this process.
    """

    def __init__(
        self,
        team: Team = ALONE,
        parameters: Iterable[nn.Parameter] = (),
        batch: int = 0,
        positions: slice = slice(None),
    ) -> None:
        self.team, self.batch, self.positions = team, batch, positions
        self._counts: Tensor | None = None
        self._parcels = _parcels(parameters) if team.count > 1 else []
        self._next, self._last_part = 0, False
        for parcel in self._parcels:
            for parameter in parcel.parameters:
                parameter.register_post_accumulate_grad_hook(functools.partial(self._ready, parcel))

    def begin(self) -> None:
        """Begin a step."""
        self._counts, self._next = None, 0

    def counts(self, own: Tensor) -> Tensor:
        """Counted pixels of this process's images, `[M, b]` -> those of the whole batch, `[M, B]`."""
        if self.team.count == 1:
            return own
        if self._counts is None:  # when the step is repeated in smaller parts, they are known
            self._counts = own.new_zeros((len(own), self.batch))
            self._counts[:, self.positions] = own
            self.team.total(self._counts)
        return self._counts

    def part(self, *, last: bool) -> None:
        """Announce a backward pass; the last one completes the gradients of this process."""
        self._last_part = last
        for parcel in self._parcels[self._next :]:
            parcel.missing = len(parcel.parameters)

    def end(self) -> None:
        """Put the sums over all processes in the place of this process's gradients."""
        self._last_part = False
        for parcel in self._parcels[self._next :]:  # with parameters that nothing depends on
            parcel.send(self.team)
        self._next = len(self._parcels)
        for parcel in self._parcels:
            parcel.receive(self.team)

    def _ready(self, parcel: _Parcel, _: Tensor) -> None:
        if not self._last_part:
            return
        parcel.missing -= 1
        # In one order in every process, whatever the order in which they fill.
        while self._next < len(self._parcels) and self._parcels[self._next].missing == 0:
            self._parcels[self._next].send(self.team)
            self._next += 1


class _Parcel:
    """Gradients that travel together."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.missing = len(parameters)
        self._sent: list[nn.Parameter] = []
        self._flat = torch.empty(0)
        self._work: dist.Work | None = None

    def send(self, team: Team) -> None:
        self._sent = [parameter for parameter in self.parameters if parameter.grad is not None]
        if self._sent:
            self._flat = torch.cat(
                [parameter.grad.reshape(-1) for parameter in self._sent if parameter.grad is not None]
            )
            self._work = team.send(self._flat)

    def receive(self, team: Team) -> None:
        if not self._sent:
            return
        team.receive(self._work)
        parts = self._flat.split([parameter.numel() for parameter in self._sent])
        for parameter, part in zip(self._sent, parts, strict=True):
            assert parameter.grad is not None
            parameter.grad.copy_(part.view(parameter.shape))
        self._sent, self._flat, self._work = [], torch.empty(0), None


def _parcels(parameters: Iterable[nn.Parameter]) -> list[_Parcel]:
    """Pack parameters from the last to the first, in which order gradients come up."""
    packed: list[list[nn.Parameter]] = []
    room = 0
    for parameter in reversed(list(parameters)):
        size = parameter.numel() * parameter.element_size()
        if not packed or size > room or parameter.dtype != packed[-1][0].dtype:
            packed.append([])
            room = BUCKET_BYTES
        packed[-1].append(parameter)
        room -= size
    return [_Parcel(parameters) for parameters in packed]
