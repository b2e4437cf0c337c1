"""The convolutional detail encoder of Cityscapes: stem and first stage of a ResNet-101 v1c (Sec. 4.1)."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

BASE = 64
"""Width of the first stage of a ResNet-101."""


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, base: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, base, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.conv2 = nn.Conv2d(base, base, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(base)
        self.conv3 = nn.Conv2d(base, 4 * base, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * base)
        same = inputs == 4 * base
        conv = nn.Conv2d(inputs, 4 * base, 1, bias=False)
        self.downsample = nn.Identity() if same else nn.Sequential(conv, nn.BatchNorm2d(4 * base))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class DetailEncoder(nn.Module):
    """Fine features for small segments: normalised images `[B, 3, H, W]` -> `[B, 4 * base, H/4, W/4]`."""

    def __init__(self, base: int = BASE) -> None:
        super().__init__()
        half = base // 2
        self.stem = nn.Sequential(*_conv_norm(3, half, stride=2), *_conv_norm(half, half), *_conv_norm(half, base))
        self.layer1 = nn.Sequential(_Bottleneck(base, base), _Bottleneck(4 * base, base), _Bottleneck(4 * base, base))

    def forward(self, image: Tensor) -> Tensor:
        """Read the first stage."""
        out: Tensor = self.layer1(F.max_pool2d(self.stem(image), 3, stride=2, padding=1))
        return out


def _conv_norm(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
