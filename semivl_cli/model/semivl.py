"""The model on one screen: dense CLIP encoder, class texts, language-guided decoder (Fig. 4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from semivl_cli.model.decoders.convolutional import ConvolutionalDecoder
from semivl_cli.model.decoders.language import LanguageGuidedDecoder
from semivl_cli.model.encoders.dense_vit import DenseEncoder, Features
from semivl_cli.model.encoders.detail import DetailEncoder

IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of RGB in 0..1."""


class Normalize(nn.Module):
    """uint8 RGB `[B, 3, H, W]` -> float images of the weights' dtype with the given statistics."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normalise in float32, then hand over in `dtype`."""
        return ((image.float() / 255 - self.mean.float()) / self.std.float()).to(dtype)


class SemiVL(nn.Module):
    """f = h(g(x)): encoder `g`, decoder `h` (Sec. 3.1).

    Args:
        encoder: dense CLIP encoder with two skips, or with one (the later) when there is a detail encoder.
        decoder: language-guided decoder, or the baseline's.
        text: one vector a class, `[N, D]`; unit length or not.
        statistics: mean and std of the images that the encoder expects.
        output_size: side of the square to which logits are resized before the image's size (the published code
            does so even where the image has another size), or `None`: straight to the image's size.
        detail: convolutional encoder whose features replace the earlier skip.
    """

    text: Tensor

    def __init__(
        self,
        encoder: DenseEncoder,
        decoder: LanguageGuidedDecoder | ConvolutionalDecoder,
        text: Tensor,
        statistics: tuple[Sequence[float], Sequence[float]],
        output_size: int | None = None,
        detail: DetailEncoder | None = None,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(*statistics)
        self.normalize_detail = Normalize(*IMAGENET_STATISTICS)
        self.encoder, self.decoder, self.detail = encoder, decoder, detail
        self.output_size = output_size
        self.register_buffer("text", text.float())

    def recompute_activations(self, wanted: bool = True) -> None:
        """Keep less for the gradient, or everything; the numbers are the same."""
        self.encoder.recompute = self.decoder.recompute = wanted

    def encode(self, image: Tensor) -> Features:
        """g: uint8 RGB `[B, 3, H, W]` -> features."""
        dtype = self.decoder.head.weight.dtype
        features: Features = self.encoder(self.normalize(image, dtype))
        if self.detail is not None:
            features = Features((self.detail(self.normalize_detail(image, dtype)), *features.skips), features.dense)
        return features

    def decode(self, features: Features, size: tuple[int, int]) -> Tensor:
        """h: features -> logits `[B, N, H, W]`, float32 or wider."""
        logits = self.decoder(features, self.text)  # [B, N, 4h, 4w]
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        if self.output_size is not None:
            logits = resize(logits, (self.output_size, self.output_size))
        return resize(logits, size)

    def forward(self, image: Tensor) -> Tensor:
        """f: uint8 RGB `[B, 3, H, W]` -> logits `[B, N, H, W]`."""
        return self.decode(self.encode(image), (image.shape[2], image.shape[3]))


def resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps `[B, N, ., .]` bilinearly to `size`."""
    if logits.shape[2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def perturb(features: Features, multipliers: Sequence[Tensor]) -> Features:
    """P: multiply the channels of every feature map by `[B, C]`: skips in order, then dense vectors (Sec. 3.1)."""
    maps = (*features.skips, features.dense)
    scaled = [m * multiplier.to(m)[:, :, None, None] for m, multiplier in zip(maps, multipliers, strict=True)]
    return Features(tuple(scaled[:-1]), scaled[-1])
