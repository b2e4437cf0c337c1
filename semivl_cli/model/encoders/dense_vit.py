"""The dense CLIP encoder: a CLIP ViT read patch by patch (Sec. 3.3 and 3.4; dense vectors as in MaskCLIP)."""

from __future__ import annotations

from typing import Literal, cast

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from semivl_cli.model.activation_checkpointing import checkpointed
from semivl_cli.model.blocks import Activation, Block
from semivl_cli.model.features import Features

SkipPath = Literal["value", "block"]


@dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})
class EncoderSpec:
    """The shape of a CLIP ViT; enough to build it without open_clip."""

    width: int
    """Token width `E`."""
    layers: int
    heads: int
    mlp_width: int
    patch_size: int
    grid: tuple[int, int]
    """Rows and columns of patches for which the position embedding is stored."""
    embed_dim: int
    """Embedding width `D`, shared with the text."""
    activation: Activation
    norm_eps: float
    pre_norm: bool
    pool: Literal["tok", "avg"]
    norm_after_pool: bool


class DenseEncoder(nn.Module):
    """CLIP's image tower, kept as a map.

    The last block is read by its value path: patches keep their place, where attention would have moved what they
    know into the class token.

    Args:
        spec: shape of the ViT.
        skips: blocks, counted from 0, whose features go to the decoder.
        skip_path: `value`: the value path of those blocks; `block`: their ordinary output.
    """

    def __init__(self, spec: EncoderSpec, skips: tuple[int, ...] = (), skip_path: SkipPath = "value") -> None:
        super().__init__()
        self.spec, self.skips, self.skip_path = spec, skips, skip_path
        self.checkpointing = False
        e = spec.width
        self.patch_embedding = nn.Conv2d(3, e, spec.patch_size, stride=spec.patch_size, bias=False)
        self.class_token = nn.Parameter(_drawn(e, deviation=e**-0.5))
        self.position_embedding = nn.Parameter(_drawn(1 + spec.grid[0] * spec.grid[1], e, deviation=e**-0.5))
        self.pre_norm = nn.LayerNorm(e, eps=spec.norm_eps) if spec.pre_norm else nn.Identity()
        self.blocks = nn.ModuleList(
            Block(e, spec.heads, spec.mlp_width, spec.activation, spec.norm_eps) for _ in range(spec.layers)
        )
        self.post_norm = nn.LayerNorm(e, eps=spec.norm_eps)
        self.projection = nn.Linear(e, spec.embed_dim, bias=False)

    def forward(self, image: Tensor) -> Features:
        """Turn normalised images `[B, 3, H, W]` into dense vectors and early features.

        Sides that are no multiple of the patch are padded with zeros at the bottom and right: `h = ceil(H / patch)`.
        """
        tokens, grid = self._embed(image)
        skips: list[Tensor] = []
        last = len(self.blocks) - 1
        for i, module in enumerate(self.blocks):
            block = cast(Block, module)  # a ModuleList has forgotten its type
            before = tokens
            if i < last or (i in self.skips and self.skip_path == "block"):  # else nobody needs the last attention
                tokens = checkpointed(block, before, when=self.checkpointing)
            if i in self.skips:
                skip = self._value_path(block, before) if self.skip_path == "value" else tokens[:, 1:]  # [B, hw, E]
                skips.append(_as_map(skip, grid))
            if i == last:
                dense = self.projection(self.post_norm(self._value_path(block, before)))  # [B, hw, D]
        return Features(tuple(skips), _as_map(F.normalize(dense, dim=-1), grid))

    def embed_image(self, image: Tensor) -> Tensor:
        """Turn normalised images `[B, 3, H, W]` into CLIP's own image embedding `[B, D]`, unit length."""
        tokens, _ = self._embed(image)
        for block in self.blocks:
            tokens = block(tokens)
        if self.spec.pool == "tok":
            pooled = self.post_norm(tokens[:, 0])
        elif self.spec.norm_after_pool:
            pooled = self.post_norm(tokens[:, 1:].mean(1))
        else:
            pooled = self.post_norm(tokens[:, 1:]).mean(1)
        return F.normalize(self.projection(pooled), dim=-1)

    def _value_path(self, block: Block, tokens: Tensor) -> Tensor:
        """Read the patches of a block by their value path: `[B, 1 + h*w, E] -> [B, h*w, E]`."""
        return checkpointed(block.value_path, tokens[:, 1:], when=self.checkpointing)

    def _embed(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Patches and positions: `[B, 3, H, W] -> [B, 1 + h*w, E]` and the grid `(h, w)`."""
        p = self.spec.patch_size
        image = F.pad(image, (0, -image.shape[3] % p, 0, -image.shape[2] % p))
        patches = self.patch_embedding(image)  # [B, E, h, w]
        grid = (patches.shape[2], patches.shape[3])
        patches = patches.flatten(2).transpose(1, 2)  # [B, hw, E]
        tokens = torch.cat([self.class_token.expand(len(image), 1, -1).to(patches.dtype), patches], dim=1)
        positions = resize_positions(self.position_embedding, self.spec.grid, grid)
        return self.pre_norm(tokens + positions), grid


def resize_positions(positions: Tensor, stored: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """Resize a position embedding `[1 + rows*columns, E]` bicubically to another grid; the class entry is kept."""
    if stored == wanted:
        return positions
    grid = positions[1:].unflatten(0, stored).permute(2, 0, 1)[None]  # [1, E, rows, columns]
    grid = F.interpolate(grid.float(), size=wanted, mode="bicubic", align_corners=False).to(positions.dtype)
    return torch.cat([positions[:1], grid[0].flatten(1).T])


def _drawn(*shape: int, deviation: float) -> Tensor:
    """Draw from a normal distribution; for a model without numbers, on the device `meta`, nothing."""
    empty = torch.empty(*shape)
    return empty if empty.is_meta else torch.randn(*shape) * deviation


def _as_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """`[B, hw, C] -> [B, C, h, w]`."""
    out: Tensor = tokens.transpose(1, 2).unflatten(2, grid)
    return out
