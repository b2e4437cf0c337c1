"""A DeepLabv3+-style decoder that knows no language: the baseline of the ablation (Sec. 4.3, Table 6)."""

from __future__ import annotations

from torch import Tensor, nn

from semivl_cli.model.decoders.language import Aspp, DecoderSpec, UpBlock
from semivl_cli.model.encoders.dense_vit import Features
from semivl_cli.model.recompute import call

SHARED = 4
"""How many times as wide as `up_widths` the upsampling is: the language-guided decoder has those channels for each
class, here one map serves all classes. Four times the paper's 64 are the 256 of the published baseline."""


class ConvolutionalDecoder(nn.Module):
    """Dense features -> ASPP -> upsampling with both early features -> one output channel a class.

    It reads what the language-guided decoder compares with the texts, CLIP's dense embedding, as the published baseline
    on CLIP does: then only the decoder differs between two rows of the ablation, and the baseline has the features in
    which CLIP's semantics are most local. It fuses the same two early features at the same resolutions (the published
    baseline has one, and stays on the grid of patches), by the same blocks with GroupNorm, which small batches do not
    trouble, only wider.

    Args:
        spec: shape; texts, heads, layers and pooling are not used.
        classes: number of classes `N`, which are fixed from here on.
    """

    def __init__(self, spec: DecoderSpec, classes: int) -> None:
        super().__init__()
        self.spec, self.recompute = spec, False
        self.context = Aspp(spec.embed_dim, spec.width, spec.dilations)
        earlier, later = spec.skip_channels
        self.skip_later = nn.Sequential(nn.Conv2d(later, spec.skip_widths[0], 3, padding=1), nn.ReLU())
        self.skip_earlier = nn.Sequential(nn.Conv2d(earlier, spec.skip_widths[1], 3, padding=1), nn.ReLU())
        up1, up2 = (SHARED * width for width in spec.up_widths)
        self.up1 = UpBlock(spec.width, spec.skip_widths[0], up1)
        self.up2 = UpBlock(up1, spec.skip_widths[1], up2)
        self.head = nn.Conv2d(up2, classes, 1)

    def forward(self, features: Features, text: Tensor) -> Tensor:
        """Decode features (`skips` two, `dense [B, D, h, w]`) into logits `[B, N, 4h, 4w]`; `text` is not read."""
        assert len(text) == self.head.out_channels, "the classes of a convolutional decoder are fixed"
        earlier, later = features.skips
        maps = call(self.context, features.dense, recompute=self.recompute)  # [B, F, h, w]
        maps = call(self.up1, maps, self.skip_later(later), recompute=self.recompute)  # [B, 4 up1, 2h, 2w]
        maps = call(self.up2, maps, self.skip_earlier(earlier), recompute=self.recompute)  # [B, 4 up2, 4h, 4w]
        out: Tensor = self.head(maps)
        return out
