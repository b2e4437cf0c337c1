"""Sums gradients over the processes in buckets, which leave while the backward pass computes the others."""

from __future__ import annotations

import functools
from collections.abc import Iterable

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
        self.buckets = _buckets(process_group, parameters) if process_group.world_size > 1 else []
        self.sent, self.is_last = 0, False
        for bucket in self.buckets:
            for parameter in bucket.parameters:
                parameter.register_post_accumulate_grad_hook(functools.partial(self._ready, bucket))

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add the gradient of `loss`; the last backward pass completes the gradients of this process."""
        self.is_last = last
        for bucket in self.buckets[self.sent :]:
            bucket.missing = len(bucket.parameters)
        loss.backward()

    def all_reduce(self) -> None:
        """Put the sums over all processes in the place of this process's gradients."""
        for bucket in self.buckets[self.sent :]:  # with parameters that nothing depends on
            bucket.send()
        for bucket in self.buckets:
            bucket.receive()
        self.sent, self.is_last = 0, False

    def _ready(self, bucket: _Bucket, _: Tensor) -> None:
        if not self.is_last:
            return
        bucket.missing -= 1
        # In one order in every process, whatever the order in which they fill.
        while self.sent < len(self.buckets) and self.buckets[self.sent].missing == 0:
            self.buckets[self.sent].send()
            self.sent += 1


class _Bucket:
    """Gradients that travel together."""

    def __init__(self, process_group: ProcessGroup, parameters: list[nn.Parameter]) -> None:
        self.process_group, self.parameters = process_group, parameters
        self.missing = len(parameters)

    def send(self) -> None:
        """Begin to sum those that are there."""
        gradients = [parameter.grad.reshape(-1) for parameter in self.parameters if parameter.grad is not None]
        self._flat = torch.cat(gradients) if gradients else torch.empty(0)
        self._wait = self.process_group.all_reduce_async(self._flat) if gradients else lambda: None

    def receive(self) -> None:
        """Wait for the sums, and put them where the gradients are now."""
        self._wait()
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        parts = self._flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))
        del self._flat, self._wait


def _buckets(process_group: ProcessGroup, parameters: Iterable[nn.Parameter]) -> list[_Bucket]:
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
    return [_Bucket(process_group, parameters) for parameters in packed]
