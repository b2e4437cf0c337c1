"""Puts a model together: which decoder a kind names, and the spec by which a checkpoint builds its model again."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic.dataclasses import dataclass
from torch import Tensor

from semivl_cli.config import ModelSettings, RunConfig
from semivl_cli.errors import InputError
from semivl_cli.model.decoders.convolutional import ConvolutionalDecoder
from semivl_cli.model.decoders.decoder import Decoder, DecoderSpec
from semivl_cli.model.decoders.language import LanguageGuidedDecoder
from semivl_cli.model.encoders.dense_vit import DenseEncoder, EncoderSpec, SkipPath
from semivl_cli.model.encoders.detail import BASE, DetailEncoder
from semivl_cli.model.pixels import Statistics
from semivl_cli.model.semivl import SemiVL
from semivl_cli.settings_toml import pick

DECODERS: dict[str, type[Decoder]] = {
    "language": LanguageGuidedDecoder,
    "convolutional": ConvolutionalDecoder,
}
"""What `decoder.kind` names."""


@dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})
class ModelSpec:
    """What a checkpoint, which holds it as JSON, needs to build its model without CLIP, a recipe or a definition."""

    encoder: EncoderSpec
    decoder: DecoderSpec
    skips: tuple[int, ...]
    skip_path: SkipPath
    statistics: Statistics
    output_size: int | None
    detail_base: int | None
    decoder_kind: str = "language"

    @property
    def smallest(self) -> int:
        """Smallest side of an image that the decoder takes, in pixels."""
        return self._decoder_class.smallest(self.decoder, self.encoder.patch_size)

    def check(self, crop: int) -> None:
        """Raise `InputError` where the decoder cannot have this shape, or not decode crops of `crop` pixels."""
        self._decoder_class.check(self.decoder, self.encoder.patch_size, crop)

    def build(self, text: Tensor) -> SemiVL:
        """Build the model with fresh weights; `text` holds the class vectors `[N, D]`."""
        encoder = DenseEncoder(self.encoder, self.skips, self.skip_path)
        detail = None if self.detail_base is None else DetailEncoder(self.detail_base)
        decoder = self._decoder_class(self.decoder, len(text))
        return SemiVL(encoder, decoder, text, self.statistics, self.output_size, detail)

    @property
    def _decoder_class(self) -> type[Decoder]:
        return pick(DECODERS, "decoder.kind", self.decoder_kind)


def model_spec(config: RunConfig, clip: EncoderSpec, statistics: Statistics) -> ModelSpec:
    """Shape of the model for a CLIP of a given shape, with its position embedding stored for the crop.

    Raises:
        InputError: there is no such decoder; widths or sizes do not go together.
    """
    encoder = encoder_spec(clip, config.model, config.data.crop)
    if max(config.model.skips) >= encoder.layers:
        raise InputError(f"model.skips = {config.model.skips}: this CLIP has blocks 0 to {encoder.layers - 1}")
    detail = config.model.detail == "resnet"
    spec = ModelSpec(
        encoder=encoder,
        decoder=DecoderSpec(
            embed_dim=encoder.embed_dim,
            skip_channels=(4 * BASE if detail else encoder.width, encoder.width),
            **config.decoder.model_dump(exclude={"kind", "text", "resize"}),
        ),
        decoder_kind=config.decoder.kind,
        skips=tuple(config.model.skips),
        skip_path=config.model.skip_path,
        statistics=statistics,
        output_size=config.data.crop if config.decoder.resize == "crop" else None,
        detail_base=BASE if detail else None,
    )
    spec.check(config.data.crop)
    return spec


def encoder_spec(clip: EncoderSpec, settings: ModelSettings, image_size: int | Literal["checkpoint"]) -> EncoderSpec:
    """Shape of an encoder that reads a CLIP, of the shape `clip`, as the settings say.

    `image_size`: in pixels, for whose grid of patches the position embedding is stored; or the CLIP's own.
    """
    return replace(
        clip,
        activation=clip.activation if settings.activation == "checkpoint" else settings.activation,
        norm_eps=clip.norm_eps if settings.norm_eps == "checkpoint" else settings.norm_eps,
        grid=clip.grid if image_size == "checkpoint" else (image_size // clip.patch_size,) * 2,
    )
