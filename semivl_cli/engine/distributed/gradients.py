"""Sums gradients over the processes in buckets, which leave while the backward pass computes the others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from semivl_cli.engine.distributed.group import ALONE, ProcessGroup

BUCKET_BYTES = 25 * 2**20
"""Gradients are sent in buckets of about this size: large enough to be fast, small enough to be early."""


class GradientBuckets:
    """The gradients of one process on their way to the sum over all; alone, nothing happens to them.

    torch's DistributedDataParallel would average them, and wants one call of the whole model and as many backward
    passes in every process; here encoder and decoder are called apart, slices of the batch may differ in size, and a
    process that runs out of memory computes its own again in smaller parts, of which the others need not know: what has
    left is not sent twice.
    """

    def __init__(self, process_group: ProcessGroup = ALONE, parameters: Iterable[nn.Parameter] = ()) -> None:
        self.process_group = process_group
        self.buckets = _packed(parameters) if process_group.world_size > 1 else []
        self.missing: list[int] = []
        """How many gradients of each bucket the last backward pass has not completed."""
        self.sent: list[tuple[Tensor, Callable[[], object]]] = []
        """Of the first buckets: their gradients in a row, and what waits until these are the sums."""
        self.is_last = False
        for number, bucket in enumerate(self.buckets):
            for parameter in bucket:
                parameter.register_post_accumulate_grad_hook(functools.partial(self._ready, number))

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add the gradient of `loss`; the last backward pass completes the gradients of this process."""
        self.is_last = last
        self.missing = [len(bucket) for bucket in self.buckets]
        loss.backward()

    def all_reduce(self) -> None:
        """Put the sums over all processes in the place of this process's gradients."""
        while len(self.sent) < len(self.buckets):  # with parameters that nothing depends on
            self._send()
        for bucket, (flat, wait) in zip(self.buckets, self.sent, strict=True):
            wait()
            gradients = _gradients(bucket)
            parts = flat.split([gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view(gradient.shape))
        self.sent, self.is_last = [], False

    def _ready(self, number: int, _: Tensor) -> None:
        if not self.is_last:
            return
        self.missing[number] -= 1
        # In one order in every process, whatever the order in which they fill.
        while len(self.sent) < len(self.buckets) and self.missing[len(self.sent)] == 0:
            self._send()

    def _send(self) -> None:
        """Begin to sum the next bucket."""
        gradients = [gradient.reshape(-1) for gradient in _gradients(self.buckets[len(self.sent)])]
        flat = torch.cat(gradients) if gradients else torch.empty(0)
        self.sent.append((flat, self.process_group.all_reduce_async(flat) if gradients else lambda: None))


def _gradients(bucket: Sequence[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in bucket if parameter.grad is not None]


def _packed(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Pack parameters from the last to the first, in which order gradients come up."""
    buckets: list[list[nn.Parameter]] = []
    room = 0
    for parameter in reversed(list(parameters)):
        size = parameter.numel() * parameter.element_size()
        if not buckets or size > room or parameter.dtype != buckets[-1][0].dtype:
            buckets.append([])
            room = BUCKET_BYTES
        buckets[-1].append(parameter)
        room -= size
    return buckets
