"""The colours of strong views (A of Sec. 3): jitter, grayscale and blur, for a whole batch on the device of its tensor.

What happens to an image depends on its own draw alone, never on its neighbours in the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from semivl_cli.config import AugmentSettings

ColorStep = Literal["brightness", "contrast", "saturation", "hue"]
_STEPS: tuple[ColorStep, ...] = ("brightness", "contrast", "saturation", "hue")


@dataclass(frozen=True, kw_only=True, slots=True)
class ColorDraw:
    """What one strong view does to the colours of one image."""

    order: tuple[ColorStep, ...]
    """The steps of the jitter in their order; empty: no jitter."""
    brightness: float
    contrast: float
    saturation: float
    hue: float
    gray: bool
    sigma: float | None
    """Of the blur, in pixels; `None`: no blur."""


def draw_color(rng: np.random.Generator, augment: AugmentSettings) -> ColorDraw:
    """Draw the colours of one strong view of one image."""
    (brightness, contrast, saturation, hue), (sharpest, softest) = augment.jitter, augment.blur_sigma

    def factor(strength: float) -> float:
        return float(rng.uniform(max(0.0, 1 - strength), 1 + strength))

    order = tuple(_STEPS[step] for step in rng.permutation(len(_STEPS)))
    return ColorDraw(
        order=order if rng.random() < augment.jitter_probability else (),
        brightness=factor(brightness),
        contrast=factor(contrast),
        saturation=factor(saturation),
        hue=float(rng.uniform(-hue, hue)),
        gray=bool(rng.random() < augment.grayscale),
        sigma=float(rng.uniform(sharpest, softest)) if rng.random() < augment.blur else None,
    )


@torch.no_grad()
def strong_view(images: Tensor, draws: Sequence[ColorDraw]) -> Tensor:
    """Colour each image of a batch as its draw says: uint8 `[B, 3, H, W]` -> uint8 `[B, 3, H, W]`.

    Every step rounds to whole values, as if each were stored as uint8.
    """
    assert len(images) == len(draws), f"{len(images)} images, {len(draws)} draws"
    pixels = images.float()
    for nth in range(len(_STEPS)):
        pixels = _jitter(pixels, draws, [draw.order[nth] if draw.order else None for draw in draws])
    gray = _sent(torch.tensor([draw.gray for draw in draws]), images.device)[:, None, None, None]
    pixels = torch.where(gray, _gray(pixels), pixels)
    return _blur(pixels, draws).to(torch.uint8)


def _sent(few: Tensor, device: torch.device) -> Tensor:
    """Copy a few numbers to the device without waiting for what it still computes."""
    return few.to(device, non_blocking=True)


def _jitter(pixels: Tensor, draws: Sequence[ColorDraw], steps: Sequence[ColorStep | None]) -> Tensor:
    """Take one step of each image's jitter: float `[B, 3, H, W]` of whole values 0..255."""
    # Three of the four steps move away from (or towards) something: black, the mean gray, the image's own gray.
    numbers = torch.zeros(len(draws), 3)  # factor, share of the own gray, share of the mean gray
    numbers[:, 0] = 1.0
    turned = [row for row, step in enumerate(steps) if step == "hue"]
    for row, (draw, step) in enumerate(zip(draws, steps, strict=True)):
        if step == "brightness":
            numbers[row, 0] = draw.brightness
        elif step == "contrast":
            numbers[row] = torch.tensor((draw.contrast, 0.0, 1.0))
        elif step == "saturation":
            numbers[row] = torch.tensor((draw.saturation, 1.0, 0.0))
    factor, own, mean = _sent(numbers, pixels.device)[:, :, None, None, None].unbind(1)  # [B, 1, 1, 1] each
    gray = _gray(pixels)
    target = own * gray + mean * gray.mean(dim=(1, 2, 3), keepdim=True)
    pixels = (factor * pixels + (1 - factor) * target).clamp_(0, 255).floor_()
    if turned:
        rows = _sent(torch.tensor(turned), pixels.device)
        turns = _sent(torch.tensor([draws[row].hue for row in turned]), pixels.device)
        pixels[rows] = _turn_hue(pixels[rows], turns)
    return pixels


def _gray(pixels: Tensor) -> Tensor:  # [B, 3, H, W] -> [B, 1, H, W]
    weights = _sent(torch.tensor((0.2989, 0.587, 0.114)), pixels.device)  # luma of ITU-R 601
    return (pixels * weights[:, None, None]).sum(dim=1, keepdim=True).floor_()


def _turn_hue(pixels: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of `[B, 3, H, W]` by `turns` `[B]` and keep value (maximum) and chroma (maximum - minimum)."""
    red, green, blue = pixels.unbind(1)  # [B, H, W] each
    value, chroma = pixels.amax(1), pixels.amax(1) - pixels.amin(1)
    safe = chroma.clamp(min=1)  # chroma is whole: 0 only for gray, whose hue is of no consequence
    sector = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )  # hue in sixths of a turn
    sector = sector + 6 * turns[:, None, None]
    channels = []
    for offset in (5, 3, 1):  # red, green, blue: the same trapezoid over the circle, a third of a turn apart
        distance = (sector + offset) % 6
        channels.append(value - chroma * torch.minimum(distance, 4 - distance).clamp(0, 1))
    return torch.stack(channels, dim=1).round_()


def _blur(pixels: Tensor, draws: Sequence[ColorDraw]) -> Tensor:
    """Blur the images whose draw has a sigma, with a kernel cut at three sigma and repeated border pixels."""
    sigmas = {row: draw.sigma for row, draw in enumerate(draws) if draw.sigma is not None}
    if not sigmas:
        return pixels
    rows = _sent(torch.tensor(list(sigmas)), pixels.device)
    radius = max(math.ceil(3 * sigma) for sigma in sigmas.values())
    kernels = _sent(torch.stack([_gaussian(sigma, radius) for sigma in sigmas.values()]), pixels.device)  # [b, taps]
    kernels = kernels.repeat_interleave(3, dim=0)[:, None, None, :]  # [b * 3, 1, 1, taps]
    chosen = pixels[rows]
    wide = functional.pad(chosen, [radius] * 4, mode="replicate").flatten(0, 1)[None]  # [1, b * 3, H', W']
    across = functional.conv2d(wide, kernels, groups=len(kernels))
    both = functional.conv2d(across, kernels.transpose(2, 3), groups=len(kernels))
    pixels[rows] = both.view_as(chosen).round_().clamp_(0, 255)
    return pixels


def _gaussian(sigma: float, radius: int) -> Tensor:
    """Return the weights `[2 * radius + 1]` of a Gaussian, zero beyond three sigma of its own."""
    distance = torch.arange(-radius, radius + 1).abs()
    weights = torch.exp(-0.5 * (distance / sigma) ** 2) * (distance <= math.ceil(3 * sigma))
    return weights / weights.sum()
