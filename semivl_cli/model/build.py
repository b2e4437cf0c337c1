"""Puts a model together: which decoder a kind names, and the spec by which a checkpoint builds its model again."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from semivl_cli.config import ModelSettings, RunConfig
from semivl_cli.errors import InputError, first_line
from semivl_cli.limits import PARAMETERS
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


_LARGEST = 2**14
"""Pixels or patches that a size of a stored model may have beside its weights, far above any real one."""


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

    def differences(self, other: ModelSpec) -> list[str]:
        """Name what keeps weights from being another's, such as `decoder.width: 128, not 64`; positions are resized."""
        one, two = ({**asdict(spec), **_parts(asdict(spec))} for spec in (self, other))
        apart = {"encoder", "decoder", "encoder.grid", "output_size"}
        return [f"{name}: {one[name]}, not {two[name]}" for name in one if name not in apart and one[name] != two[name]]

    def build(self, text: Tensor) -> SemiVL:
        """Build the model with fresh weights; `text` holds the class vectors `[N, D]`."""
        encoder = DenseEncoder(self.encoder, self.skips, self.skip_path)
        detail = None if self.detail_base is None else DetailEncoder(self.detail_base)
        decoder = self._decoder_class(self.decoder, len(text))
        return SemiVL(encoder, decoder, text, self.statistics, self.output_size, detail)

    def check_weights(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse a spec that does not fit the weights stored beside it, before memory is taken for what it claims.

        Raises:
            InputError: a number of it is no size, or the model that it describes has other tensors.
        """
        encoder, decoder = self.encoder, self.decoder
        earlier = encoder.width if self.detail_base is None else 4 * self.detail_base
        possible = (
            max(encoder.layers, decoder.layers, len(decoder.dilations)) <= len(shapes)  # each has tensors of its own
            and min(*encoder.grid, encoder.patch_size, encoder.heads, decoder.heads, decoder.pool, *decoder.dilations)
            > 0
            and max(encoder.patch_size * decoder.pool, self.output_size or 1, *decoder.dilations) <= _LARGEST
            and all(0 < number < math.inf for number in (encoder.norm_eps, *self.statistics[1]))
            and all(len(numbers) == 3 and math.isfinite(sum(numbers)) for numbers in self.statistics)
            and encoder.width % encoder.heads == 0
            and decoder.skip_channels == (earlier, encoder.width)
            and len(shapes.get("text", ())) == 2
            and shapes["text"][1] == encoder.embed_dim == decoder.embed_dim
            and set(self.skips) <= set(range(encoder.layers))
            and len(set(self.skips)) == (2 if self.detail_base is None else 1)
            and (self.output_size is None or self.output_size > 0)
        )
        if not possible:
            raise InputError("its spec holds sizes that no model has")
        try:
            self.check(_LARGEST)
            own = {name: tuple(tensor.shape) for name, tensor in self.planned(shapes["text"]).items()}
        except (RuntimeError, ValueError, ArithmeticError) as error:
            raise InputError(f"its spec describes no model ({first_line(error)[:100]})") from error
        if own != dict(shapes):
            name = min(name for name in own.keys() | shapes.keys() if own.get(name) != shapes.get(name))
            raise InputError(f"its spec asks for {name} {own.get(name)}, the file holds {shapes.get(name)}")

    def planned(self, text: tuple[int, ...]) -> dict[str, Tensor]:
        """Return the tensors of the model without their numbers; `text`: shape of the class vectors."""
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers without any width
            return self.build(torch.empty(text)).state_dict()

    @property
    def _decoder_class(self) -> type[Decoder]:
        return pick(DECODERS, "decoder.kind", self.decoder_kind)


def _parts(spec: dict[str, Any]) -> dict[str, Any]:
    return {f"{part}.{name}": value for part in ("encoder", "decoder") for name, value in spec[part].items()}


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
    numbers = sum(tensor.numel() for tensor in spec.planned((2, encoder.embed_dim)).values())
    PARAMETERS.check(numbers / 1e6, "the model of these settings")  # before memory is taken for it
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
