"""The pre-norm Transformer block that encoder and decoder share, with its value path (as in MaskCLIP)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it
from torch import Tensor, nn

Activation = Literal["gelu", "gelu_tanh", "quick_gelu"]


class Attention(nn.Module):
    """Multi-head self-attention with packed query, key and value projections; `[B, L, E] -> [B, L, E]`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Let every token look at every other."""
        b, length, width = x.shape
        packed = F.linear(x, self.in_proj_weight, self.in_proj_bias).view(b, length, 3, self.heads, -1)
        q, k, v = packed.permute(2, 0, 3, 1, 4)  # [B, heads, L, E/heads]
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, length, width)
        out: Tensor = self.out_proj(mixed)
        return out

    def value(self, x: Tensor) -> Tensor:
        """Project each token by value and output projection alone: no token looks at another."""
        width = x.shape[-1]
        v = F.linear(x, self.in_proj_weight[2 * width :], self.in_proj_bias[2 * width :])
        out: Tensor = self.out_proj(v)
        return out


class Mlp(nn.Module):
    """Two linear layers with an activation between them, applied to each token alone."""

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """`[..., E] -> [..., E]`."""
        x = self.fc1(x)
        if self.activation == "quick_gelu":
            x = x * torch.sigmoid(1.702 * x)
        else:
            x = F.gelu(x, approximate="tanh" if self.activation == "gelu_tanh" else "none")
        out: Tensor = self.fc2(x)
        return out


class Block(nn.Module):
    """Pre-norm Transformer block: `x + attention(norm1 x)`, then `x + mlp(norm2 x)`."""

    def __init__(self, width: int, heads: int, hidden: int, activation: Activation, norm_eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = Mlp(width, hidden, activation)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, L, E] -> [B, L, E]`."""
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def value_path(self, x: Tensor) -> Tensor:
        """The block without its attention weights: each token keeps to itself, which keeps CLIP's semantics local."""
        v = x + self.attention.value(self.norm1(x))
        out: Tensor = v + self.mlp(self.norm2(v))
        return out
