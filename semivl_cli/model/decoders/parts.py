"""Layers that decoders share: context at several dilations, upsampling with an early feature."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from semivl_cli.errors import InputError
from semivl_cli.model.decoders.decoder import DecoderSpec


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(channels // 16, 1), channels)


def _conv_norm(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, _norm(outputs), nn.ReLU(inplace=True))


class Aspp(nn.Module):
    """Context at several dilations and over the whole map; `[M, C, h, w] -> [M, F, h, w]`."""

    def __init__(self, inputs: int, width: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [_conv_norm(inputs, width, 1), *(_conv_norm(inputs, width, 3, dilation) for dilation in dilations)]
        )
        self.pooled = _conv_norm(inputs, width, 1)
        self.project = nn.Conv2d((2 + len(dilations)) * width, width, 1, bias=False)
        self.project_norm = _norm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Gather the context."""
        branches = torch.cat([branch(x) for branch in self.branches], dim=1)
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True))  # [M, F, 1, 1]
        # The projection of a constant map is a constant: project the pooled vector once instead of at every pixel.
        local, whole = self.project.weight.split([branches.shape[1], pooled.shape[1]], dim=1)
        context = F.conv2d(branches, local) + F.conv2d(pooled, whole)
        return F.relu(self.project_norm(context))


class UpBlock(nn.Module):
    """Double the resolution of each class map and fuse an early feature into it by two convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, inputs - skip, 2, stride=2)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm1 = _norm(outputs)
        self.conv2 = _conv_norm(outputs, outputs, 3)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Maps `[B*N, C, h, w]` and skip `[B, S, h', w']` -> `[B*N, outputs, 2h, 2w]`."""
        x = self.up(x)
        skip = F.interpolate(skip, size=x.shape[2:], mode="bilinear", align_corners=True)
        # The convolution of [map, skip] is the sum of two; the skip's part is the same for every class of an image.
        of_map, of_skip = self.conv1.weight.split([x.shape[1], skip.shape[1]], dim=1)
        shared = F.conv2d(skip, of_skip, padding=1)  # [B, outputs, 2h, 2w]
        own = F.conv2d(x, of_map, padding=1).unflatten(0, (len(skip), -1))  # [B, N, outputs, 2h, 2w]
        fused = (own + shared[:, None]).flatten(0, 1)
        out: Tensor = self.conv2(F.relu(self.norm1(fused)))
        return out


def project_skip(inputs: int, outputs: int) -> nn.Sequential:
    """Build what brings an early feature to the channels that an up block takes; `[B, E, h, w] -> [B, S, h, w]`."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())


def check_widths(spec: DecoderSpec, shared: int = 1) -> None:
    """Refuse widths that norm groups or early features do not fit; `shared` times `up_widths` are upsampled."""
    widths = [("decoder.width", spec.width), *((f"decoder.up_widths: {w}", shared * w) for w in spec.up_widths)]
    for name, width in widths:
        if width > 16 and width % (width // 16):
            raise InputError(
                f"{name} must be divisible by its number of norm groups, {width // 16}: take a multiple of 16"
            )
    for skip, inputs in zip(spec.skip_widths, (spec.width, spec.up_widths[0]), strict=True):
        if skip >= inputs:
            raise InputError(f"decoder.skip_widths: {skip} must be smaller than the {inputs} channels that it joins")
