"""The language-guided decoder: spatial reasoning a class, semantic reasoning a pixel, upsampling (Sec. 3.4, Fig. 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from semivl_cli.model.blocks import Block
from semivl_cli.model.encoders.dense_vit import Features
from semivl_cli.model.recompute import call
from semivl_cli.model.similarity import similarity


@dataclass(frozen=True, kw_only=True)
class DecoderSpec:
    """The shape of the decoder; the paper's numbers are those of Sec. 4.1."""

    embed_dim: int
    """Embedding width `D`."""
    skip_channels: tuple[int, int]
    """Channels of the early features as the encoder gives them, earlier first."""
    width: int = 128
    """Channels `F` of the similarity volumes."""
    text_width: int = 128
    up_widths: tuple[int, int] = (64, 32)
    skip_widths: tuple[int, int] = (32, 16)
    """Channels to which the skips are projected: of the first up block (later feature), of the second (earlier)."""
    dilations: tuple[int, ...] = (6, 12, 18)
    layers: int = 2
    heads: int = 4
    pool: int = 4
    """Side of the average pooling before semantic reasoning, in patches."""


def _conv_norm(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, _norm(outputs), nn.ReLU(inplace=True))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(channels // 16, 1), channels)


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


class LanguageGuidedDecoder(nn.Module):
    """Similarity maps -> spatial reasoning -> semantic reasoning -> upsampling -> one logit a class and pixel.

    All weights are shared between the classes, so a decoder works with any class list.
    """

    def __init__(self, spec: DecoderSpec) -> None:
        super().__init__()
        self.spec, self.recompute = spec, False
        self.embed = nn.Conv2d(1, spec.width, 7, padding=3)
        self.spatial = SpatialReasoning(spec.width, spec.dilations)
        self.text = nn.Sequential(nn.Linear(spec.embed_dim, spec.text_width), nn.ReLU())
        self.semantic = nn.ModuleList(
            SemanticReasoning(spec.width, spec.text_width, spec.heads, spec.pool) for _ in range(spec.layers)
        )
        earlier, later = spec.skip_channels
        self.skip_later = nn.Sequential(nn.Conv2d(later, spec.skip_widths[0], 3, padding=1), nn.ReLU())
        self.skip_earlier = nn.Sequential(nn.Conv2d(earlier, spec.skip_widths[1], 3, padding=1), nn.ReLU())
        self.up1 = UpBlock(spec.width, spec.skip_widths[0], spec.up_widths[0])
        self.up2 = UpBlock(spec.up_widths[0], spec.skip_widths[1], spec.up_widths[1])
        self.head = nn.Conv2d(spec.up_widths[1], 1, 3, padding=1)

    def forward(self, features: Features, text: Tensor) -> Tensor:
        """Decode features (`skips` two, `dense [B, D, h, w]`) and class texts `[N, D]` into logits `[B, N, 4h, 4w]`."""
        earlier, later = features.skips
        S = similarity(features.dense, text)  # [B, N, h, w]  # noqa: N806 - the paper's S
        b, n = S.shape[:2]
        volumes = self.embed(S.flatten(0, 1)[:, None])  # [B*N, F, h, w]
        volumes = call(self.spatial, volumes, recompute=self.recompute)  # S''
        volumes = volumes.unflatten(0, (b, n))
        anchors = self.text(F.normalize(text.to(features.dense.dtype), dim=1))  # [N, T]
        for layer in self.semantic:
            volumes = call(layer, volumes, anchors, recompute=self.recompute)
        skip = self.skip_later(later)
        maps = call(self.up1, volumes.flatten(0, 1), skip, recompute=self.recompute)  # [B*N, up1, 2h, 2w]
        skip = self.skip_earlier(earlier)
        maps = call(self.up2, maps, skip, recompute=self.recompute)  # [B*N, up2, 4h, 4w]
        out: Tensor = self.head(maps).view(b, n, *maps.shape[2:])
        return out
