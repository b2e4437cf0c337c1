"""The model on one screen: encoder, class texts, decoder (Fig. 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semivl_cli.model.decoders.decoder import Decoder
from semivl_cli.model.encoders.dense_vit import DenseEncoder
from semivl_cli.model.encoders.detail import DetailEncoder
from semivl_cli.model.features import Features
from semivl_cli.model.pixels import IMAGENET_STATISTICS, Normalize, Statistics, resize


class SemiVL(nn.Module):
    """f = h(g(x)): encoder `g`, decoder `h` (Sec. 3.1).

    Args:
        encoder: dense CLIP encoder with two skips, or with one (the later) when there is a detail encoder.
        decoder: language-guided decoder, or the baseline's.
        text: one vector a class, `[N, D]`; unit length or not.
        statistics: of the images that the encoder expects.
        output_size: side of the square to which logits are resized before the image's size (the published code
            does so even where the image has another size), or `None`: straight to the image's size.
        detail: convolutional encoder whose features replace the earlier skip.
    """

    text: Tensor

    def __init__(
        self,
        encoder: DenseEncoder,
        decoder: Decoder,
        text: Tensor,
        statistics: Statistics,
        output_size: int | None = None,
        detail: DetailEncoder | None = None,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(*statistics)
        self.normalize_detail = Normalize(*IMAGENET_STATISTICS)
        self.encoder, self.decoder, self.detail = encoder, decoder, detail
        self.output_size = output_size
        self.register_buffer("text", text.float())

    def checkpoint_activations(self, wanted: bool = True) -> None:
        """Keep less for the gradient, or everything; the numbers are the same."""
        self.encoder.checkpointing = self.decoder.checkpointing = wanted

    def encode(self, image: Tensor) -> Features:
        """g: uint8 RGB `[B, 3, H, W]` -> features."""
        dtype = self.encoder.projection.weight.dtype
        features: Features = self.encoder(self.normalize(image, dtype))
        if self.detail is not None:
            features = Features((self.detail(self.normalize_detail(image, dtype)), *features.skips), features.dense)
        return features

    def decode(self, features: Features, size: tuple[int, int]) -> Tensor:
        """h: features -> logits `[B, N, H, W]`, float32 or wider."""
        logits = self.decoder(features, self.text)  # [B, N, 4h, 4w]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.output_size is not None:
            logits = resize(logits, (self.output_size, self.output_size))
        return resize(logits, size)

    def forward(self, image: Tensor) -> Tensor:
        """f: uint8 RGB `[B, 3, H, W]` -> logits `[B, N, H, W]`."""
        return self.decode(self.encode(image), (image.shape[2], image.shape[3]))
