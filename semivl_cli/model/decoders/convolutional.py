"""A DeepLabv3+-style decoder that knows no language: the baseline of the ablation (Sec. 4.3, Table 6)."""

from __future__ import annotations

from torch import Tensor, nn

from semivl_cli.model.activation_checkpointing import checkpointed
from semivl_cli.model.decoders.decoder import Decoder, DecoderSpec
from semivl_cli.model.decoders.parts import Aspp, UpBlock, check_widths, project_skip
from semivl_cli.model.features import Features

_SHARED = 4
"""How many times as wide as `up_widths` the upsampling is: the language-guided decoder has those channels for each
class, here one map serves all classes. Four times the paper's 64 are the 256 of the published baseline."""


class ConvolutionalDecoder(Decoder):
    """Dense features -> ASPP -> upsampling with both early features -> one output channel a class.

    It reads what the language-guided decoder compares with the texts, CLIP's dense embedding, as the published baseline
    on CLIP does: then only the decoder differs between two rows of the ablation, and the baseline has the features in
    which CLIP's semantics are most local. It fuses the same two early features at the same resolutions (the published
    baseline has one, and stays on the grid of patches), by the same blocks with GroupNorm, which small batches do not
    trouble, only wider. Texts, heads, layers and pooling are not used; the classes are fixed.
    """

    class_rows = ("head.weight", "head.bias")

    def __init__(self, spec: DecoderSpec, classes: int) -> None:
        super().__init__(spec, classes)
        self.context = Aspp(spec.embed_dim, spec.width, spec.dilations)
        earlier, later = spec.skip_channels
        self.skip_later = project_skip(later, spec.skip_widths[0])
        self.skip_earlier = project_skip(earlier, spec.skip_widths[1])
        up1, up2 = (_SHARED * width for width in spec.up_widths)
        self.up1 = UpBlock(spec.width, spec.skip_widths[0], up1)
        self.up2 = UpBlock(up1, spec.skip_widths[1], up2)
        self.head = nn.Conv2d(up2, classes, 1)

    @classmethod
    def check(cls, spec: DecoderSpec, patch_size: int, crop: int) -> None:
        """Refuse widths that do not go together."""
        check_widths(spec, _SHARED)

    def forward(self, features: Features, text: Tensor) -> Tensor:
        """Decode features into logits `[B, N, 4h, 4w]`; `text` is not read."""
        assert len(text) == self.head.out_channels, "the classes of a convolutional decoder are fixed"
        earlier, later = features.skips
        maps = checkpointed(self.context, features.dense, when=self.checkpointing)  # [B, F, h, w]
        maps = checkpointed(self.up1, maps, self.skip_later(later), when=self.checkpointing)  # [B, 4 up1, 2h, 2w]
        maps = checkpointed(self.up2, maps, self.skip_earlier(earlier), when=self.checkpointing)  # [B, 4 up2, 4h, 4w]
        out: Tensor = self.head(maps)
        return out
