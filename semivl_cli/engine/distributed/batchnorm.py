"""BatchNorm over the images of all processes, as the Cityscapes encoder was published; on any device."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from semivl_cli.engine.distributed.group import ALONE, ProcessGroup


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose statistics are those of all processes; torch's own works on GPUs alone.

    All processes must call it equally often; the numbers of their images may differ.
    """

    process_group: ProcessGroup = ALONE

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W] -> [B, C, H, W]`."""
        if not self.training or self.process_group.world_size == 1:
            return super().forward(x)
        assert self.momentum is not None and self.running_mean is not None and self.running_var is not None
        variance, mean = torch.var_mean(x.float() if x.dtype != torch.float64 else x, dim=(0, 2, 3), correction=0)
        pixels = mean.new_full((1,), x.numel() // x.shape[1])  # no copy that a GPU would be waited for
        everyone = _Gather.apply(torch.cat([pixels, mean, variance]), self.process_group)  # [processes, 1 + 2 C]
        pixels, means, variances = everyone.split([1, len(mean), len(mean)], dim=1)
        part = pixels.detach() / pixels.detach().sum()
        mean = (part * means).sum(dim=0)
        variance = (part * (variances + (means - mean) ** 2)).sum(dim=0)
        with torch.no_grad():
            number = pixels.sum()
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            unbiased = variance * number / (number - 1).clamp(min=1)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        y: Tensor = (x * scale[:, None, None] + shift[:, None, None]).to(x.dtype)
        return y


class _Gather(torch.autograd.Function):
    """A vector of each process `[n]` -> those of all `[processes, n]`; gradients come back from all."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, process_group: ProcessGroup) -> Tensor:  # noqa: ANN401 - autograd's context
        ctx.process_group = process_group
        everyone = own.new_zeros((process_group.world_size, len(own)))
        everyone[process_group.rank] = own
        return process_group.all_reduce(everyone)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return ctx.process_group.all_reduce(gradient.contiguous())[ctx.process_group.rank], None


def convert_sync_batchnorm(model: nn.Module, process_group: ProcessGroup) -> None:
    """Let every BatchNorm see the images of these processes from now on."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = SynchronizedBatchNorm2d  # the same parameters and buffers, which are known elsewhere
            cast(SynchronizedBatchNorm2d, module).process_group = process_group
