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
_AWAY_FROM = {"brightness": (0.0, 0.0), "contrast": (0.0, 1.0), "saturation": (1.0, 0.0)}
"""What a factor moves pixels away from, or towards: shares of the own gray and of the image's mean gray; else black."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColorDraw:
    """What one strong view does to the colours of one image."""

    jitter: tuple[tuple[ColorStep, float], ...]
    """The four steps in their order, each with its factor, or the hue's shift in turns; empty: no jitter."""
    gray: bool
    sigma: float | None
    """Of the blur, in pixels; `None`: no blur."""


def draw_color(rng: np.random.Generator, augment: AugmentSettings) -> ColorDraw:
    """Draw the colours of one strong view of one image."""
    (*strengths, hue), (sharpest, softest) = augment.jitter, augment.blur_sigma
    order = rng.permutation(len(_STEPS))
    jitters = rng.random() < augment.jitter_probability
    amounts = [float(rng.uniform(max(0.0, 1 - strength), 1 + strength)) for strength in strengths]
    amounts.append(float(rng.uniform(-hue, hue)))
    return ColorDraw(
        jitter=tuple((_STEPS[step], amounts[step]) for step in order) if jitters else (),
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
        pixels = _jitter(pixels, [draw.jitter[nth] if draw.jitter else ("brightness", 1.0) for draw in draws])
    gray = _sent(torch.tensor([draw.gray for draw in draws]), images.device)[:, None, None, None]
    pixels = torch.where(gray, _gray(pixels), pixels)
    return _blur(pixels, draws).to(torch.uint8)


def _sent(few: Tensor, device: torch.device) -> Tensor:
    """Copy a few numbers to the device without waiting for what it still computes."""
    return few.to(device, non_blocking=device.type == "cuda")


def _jitter(pixels: Tensor, steps: Sequence[tuple[ColorStep, float]]) -> Tensor:
    """Take one step of each image's jitter: float `[B, 3, H, W]` of whole values 0..255."""
    numbers = torch.tensor([(1.0, 0.0, 0.0) if step == "hue" else (by, *_AWAY_FROM[step]) for step, by in steps])
    turns = {row: by for row, (step, by) in enumerate(steps) if step == "hue"}
    factor, own, mean = _sent(numbers, pixels.device)[:, :, None, None, None].unbind(1)  # [B, 1, 1, 1] each
    gray = _gray(pixels)
    target = own * gray + mean * gray.mean(dim=(1, 2, 3), keepdim=True)
    pixels = (factor * pixels + (1 - factor) * target).clamp_(0, 255).floor_()
    if turns:
        rows = _sent(torch.tensor(list(turns)), pixels.device)
        pixels[rows] = _turn_hue(pixels[rows], _sent(torch.tensor(list(turns.values())), pixels.device))
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
