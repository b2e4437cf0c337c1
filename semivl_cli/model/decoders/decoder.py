"""What a decoder is: its shape, and what the rest of the program asks of every kind."""

from __future__ import annotations

from pydantic.dataclasses import dataclass
from torch import nn


@dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})
class DecoderSpec:
    """The shape of a decoder, for all kinds; the paper's numbers are those of Sec. 4.1."""

    embed_dim: int
    """Embedding width `D`."""
    skip_channels: tuple[int, int]
    """Channels of the early features as the encoder gives them, earlier first."""
    width: int
    """Channels `F` of the similarity volumes."""
    text_width: int
    up_widths: tuple[int, int]
    skip_widths: tuple[int, int]
    """Channels to which the skips are projected: of the first up block (later feature), of the second (earlier)."""
    dilations: tuple[int, ...]
    layers: int
    heads: int
    pool: int
    """Side of the average pooling before semantic reasoning, in patches."""


class Decoder(nn.Module):
    """h: features (`skips` two, `dense [B, D, h, w]`) and class texts `[N, D]` -> logits `[B, N, ., .]`.

    A kind is a subclass with a `forward(features, text)` and a line in `model/build.py`. The model resizes its logits.

    Args:
        spec: its shape; a kind takes of it what it has.
        classes: number of classes `N` that it is built for.
    """

    reads_text = False
    """Whether the texts say what the classes are: such a decoder can be given other words, and other classes."""
    class_rows: tuple[str, ...] = ()
    """Parameters that have a row a class, where the classes are fixed."""

    def __init__(self, spec: DecoderSpec, classes: int) -> None:
        super().__init__()
        self.checkpointing = False

    @classmethod
    def check(cls, spec: DecoderSpec, patch_size: int, crop: int) -> None:
        """Refuse a shape that cannot be built, or cannot decode crops of `crop` pixels; raises `InputError`."""

    @classmethod
    def smallest(cls, spec: DecoderSpec, patch_size: int) -> int:
        """Return the smallest side of an image that can be decoded, in pixels."""
        return 1
