"""The language-guided decoder: spatial reasoning a class, semantic reasoning a pixel, upsampling (Sec. 3.4, Fig. 4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from semivl_cli.errors import InputError
from semivl_cli.model.activation_checkpointing import checkpointed
from semivl_cli.model.blocks import Block
from semivl_cli.model.decoders.decoder import Decoder, DecoderSpec
from semivl_cli.model.decoders.parts import Aspp, UpBlock, check_widths, project_skip
from semivl_cli.model.features import Features
from semivl_cli.model.similarity import similarity


class SpatialReasoning(Aspp):
    """Residual ASPP; `[M, F, h, w] -> [M, F, h, w]`."""

    def __init__(self, width: int, dilations: tuple[int, ...]) -> None:
        super().__init__(width, width, dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Add the context to the map."""
        return x + super().forward(x)


class SemanticReasoning(nn.Module):
    """One Transformer block over the classes of each pooled pixel, anchored by the class texts."""

    def __init__(self, width: int, text_width: int, heads: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.transformer = Block(width + text_width, heads, 4 * width, "gelu", norm_eps=1e-5)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """Relate the classes: maps `[B, N, F, h, w]`, text `[N, T]` -> `[B, N, F, h, w]`."""
        b, n, f, h, w = x.shape
        pooled = F.avg_pool2d(x.flatten(0, 1), self.pool)  # [B*N, F, h/p, w/p]
        rows, columns = pooled.shape[2:]
        tokens = pooled.view(b, n, f, rows * columns).permute(0, 3, 1, 2).flatten(0, 1)  # [B*hw/pp, N, F]
        anchors = text.to(tokens.dtype).expand(len(tokens), -1, -1)
        tokens = self.transformer(torch.cat([tokens, anchors], dim=2))[..., :f]
        related = tokens.reshape(b, rows * columns, n, f).permute(0, 2, 3, 1).reshape(b * n, f, rows, columns)
        related = F.interpolate(related, size=(h, w), mode="bilinear", align_corners=True)
        return x + related.view(b, n, f, h, w)


class LanguageGuidedDecoder(Decoder):
    """Similarity maps -> spatial reasoning -> semantic reasoning -> upsampling -> one logit a class and pixel.

    All weights are shared between the classes, so a decoder works with any class list.
    """

    reads_text = True

    def __init__(self, spec: DecoderSpec, classes: int) -> None:
        super().__init__(spec, classes)
        self.embed = nn.Conv2d(1, spec.width, 7, padding=3)
        self.spatial = SpatialReasoning(spec.width, spec.dilations)
        self.text = nn.Sequential(nn.Linear(spec.embed_dim, spec.text_width), nn.ReLU())
        self.semantic = nn.ModuleList(
            SemanticReasoning(spec.width, spec.text_width, spec.heads, spec.pool) for _ in range(spec.layers)
        )
        earlier, later = spec.skip_channels
        self.skip_later = project_skip(later, spec.skip_widths[0])
        self.skip_earlier = project_skip(earlier, spec.skip_widths[1])
        self.up1 = UpBlock(spec.width, spec.skip_widths[0], spec.up_widths[0])
        self.up2 = UpBlock(spec.up_widths[0], spec.skip_widths[1], spec.up_widths[1])
        self.head = nn.Conv2d(spec.up_widths[1], 1, 3, padding=1)

    @classmethod
    def check(cls, spec: DecoderSpec, patch_size: int, crop: int) -> None:
        """Refuse crops that are pooled to nothing, and widths that do not go together."""
        patches = -(-crop // patch_size)
        if patches < spec.pool:
            raise InputError(
                f"data.crop = {crop} gives {patches} x {patches} patches: the decoder pools {spec.pool} x {spec.pool} "
                f"of them, so the crop must be at least {spec.pool * patch_size}"
            )
        if (spec.width + spec.text_width) % spec.heads:
            raise InputError(
                f"decoder.width + decoder.text_width = {spec.width + spec.text_width} must be a multiple of "
                f"decoder.heads = {spec.heads}"
            )
        check_widths(spec)

    @classmethod
    def smallest(cls, spec: DecoderSpec, patch_size: int) -> int:
        """Return the side of one pooled cell, of whose last patch one pixel is enough."""
        return (spec.pool - 1) * patch_size + 1

    def forward(self, features: Features, text: Tensor) -> Tensor:
        """Decode features and class texts, of any number, into logits `[B, N, 4h, 4w]`."""
        earlier, later = features.skips
        S = similarity(features.dense, text)  # [B, N, h, w]  # noqa: N806 - the paper's S
        b, n = S.shape[:2]
        volumes = self.embed(S.flatten(0, 1)[:, None])  # [B*N, F, h, w]
        volumes = checkpointed(self.spatial, volumes, when=self.checkpointing)  # S''
        volumes = volumes.unflatten(0, (b, n))
        anchors = self.text(F.normalize(text.to(features.dense.dtype), dim=1))  # [N, T]
        for layer in self.semantic:
            volumes = checkpointed(layer, volumes, anchors, when=self.checkpointing)
        skip = self.skip_later(later)
        maps = checkpointed(self.up1, volumes.flatten(0, 1), skip, when=self.checkpointing)  # [B*N, up1, 2h, 2w]
        skip = self.skip_earlier(earlier)
        maps = checkpointed(self.up2, maps, skip, when=self.checkpointing)  # [B*N, up2, 4h, 4w]
        out: Tensor = self.head(maps).view(b, n, *maps.shape[2:])
        return out
