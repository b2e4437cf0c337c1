"""CLIP from open_clip, taken apart: image tower, text tower, temperature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

from semivl_cli.errors import InputError, first_line
from semivl_cli.model.blocks import Activation
from semivl_cli.model.clip_weights import FROM_WEIGHTS, Weights, find_weights, read_weights
from semivl_cli.model.encoders.dense_vit import DenseEncoder, EncoderSpec, resize_positions
from semivl_cli.model.pixels import Statistics
from semivl_cli.model.published_parameters import our_state

_OUR_NAMES = {
    "class_embedding": "class_token",
    "positional_embedding": "position_embedding",
    "conv1.": "patch_embedding.",
    "ln_pre.": "pre_norm.",
    "ln_post.": "post_norm.",
    "transformer.resblocks.": "blocks.",
    ".ln_1.": ".norm1.",
    ".ln_2.": ".norm2.",
    ".attn.": ".attention.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
}
_OPENAI_SCALE = 100.0  # the learned temperature of OpenAI's models, which a converted image tower does not hold


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A CLIP model, taken apart."""

    name: str
    """What it is, for people: model and weights."""
    sha256: str
    """Hash over all its tensors."""
    spec: EncoderSpec
    state: dict[str, Tensor]
    """Weights of the image tower under the names of `DenseEncoder`, float32."""
    text: TextTower
    logit_scale: float
    """CLIP's learned temperature as a factor of similarities; 100 for OpenAI's."""
    statistics: Statistics
    """Of the images it was trained on."""


class TextTower:
    """CLIP's text encoder with its tokenizer."""

    def __init__(self, model: nn.Module | None, tokenizer: Any, token_ids: Sequence[int] | None) -> None:  # noqa: ANN401
        self._model, self._tokenizer = model, tokenizer
        self._rows = None if token_ids is None else {token: row for row, token in enumerate(token_ids)}

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts: float32 `[K, D]`, not normalised.

        Raises:
            InputError: a word is not in the vocabulary of this CLIP (a small one may know few words), or the weights
                are those of an image tower alone.
        """
        if self._model is None:
            raise InputError(
                "these weights hold an image tower alone and no text encoder: give OpenAI's or open_clip's"
            )
        vectors = []
        for start in range(0, len(prompts), 256):
            tokens = self._tokenize(list(prompts[start : start + 256]))
            vectors.append(self._model.encode_text(tokens, normalize=False).float())  # type: ignore[operator]
        return torch.cat(vectors)

    def _tokenize(self, prompts: list[str]) -> Tensor:
        tokens: Tensor = self._tokenizer(prompts)
        if self._rows is None:
            return tokens
        for prompt, line in zip(prompts, tokens.tolist(), strict=True):
            if unknown := [token for token in line if token not in self._rows]:
                word = self._tokenizer.decode(unknown[:1]).strip()
                raise InputError(
                    f'"{prompt}": the word "{word}" is not in the vocabulary of this small CLIP; reword it'
                )
        return torch.tensor([[self._rows[token] for token in line] for line in tokens.tolist()])


def load_clip(model: str | dict[str, Any], weights: str, seed: int = 0) -> Clip:
    """Load a CLIP.

    Args:
        model: name of an open_clip model, its configuration, or `from-weights`.
        weights: tag of open_clip's list, a local file (`.safetensors`, `.bin`, `.pt`, `.pth`), or `random`.
        seed: of random weights.

    Raises:
        InputError: unknown name or tag, absent weights, a damaged or unfitting file, a tower that is no plain ViT.
    """
    path, tag = find_weights(model, weights)
    content = read_weights(path) if path else Weights({}, {}, False)
    config = _configuration(model, content.metadata)
    name = model if isinstance(model, str) and model != FROM_WEIGHTS else "CLIP"
    module = _build(config, name, seed, quick_gelu=content.by_openai or bool(tag.get("quick_gelu")))
    spec = _spec(module.visual, name)
    converted = _converted_encoder(content.state)
    if converted is not None:
        _check_fit(str(path), _encoder_state(module.visual), converted)
        text = TextTower(None, None, None)
    else:
        if path:
            # TorchScript files also hold attributes, and constants that the model makes itself.
            extra = ("input_resolution", "context_length", "vocab_size", "attn_mask")
            state = {name: tensor for name, tensor in content.state.items() if name not in extra}
            _check_fit(str(path), module.state_dict(), state)
            module.load_state_dict(state)
        token_ids = json.loads(content.metadata["token_ids"]) if "token_ids" in content.metadata else None
        text = TextTower(module, _tokenizer(model, config), token_ids)
    mean = json.loads(content.metadata.get("image_mean", "null")) or tag.get("mean") or open_clip.OPENAI_DATASET_MEAN
    std = json.loads(content.metadata.get("image_std", "null")) or tag.get("std") or open_clip.OPENAI_DATASET_STD
    clip = Clip(
        name=f"{name}, {weights if not path or tag else path.name} weights",
        sha256=_hash(converted or module.state_dict()),
        spec=spec,
        state=converted or _encoder_state(module.visual),
        text=text,
        logit_scale=_OPENAI_SCALE if converted else float(module.logit_scale.detach().exp()),
        statistics=(tuple(mean), tuple(std)),
    )
    del module.visual  # the text tower stays
    return clip


def _converted_encoder(state: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """Weights of an image tower as the published code converted them (`clip2mmseg`), under our names; else `None`."""
    bare = {key.removeprefix("backbone."): value for key, value in state.items()}
    if "patch_embed.projection.weight" not in bare:
        return None
    try:
        ours = our_state({f"backbone.{key}": value for key, value in bare.items()})
    except KeyError as error:
        raise InputError(f"the converted CLIP weights hold an unknown tensor {error.args[0]}") from error
    return {key.removeprefix("encoder."): value.float() for key, value in ours.items()}


def encoder_weights(clip: Clip, spec: EncoderSpec) -> dict[str, Tensor]:
    """Weights of a `DenseEncoder` of shape `spec`: CLIP's own, its position embedding resized to the stored grid."""
    positions = resize_positions(clip.state["position_embedding"], clip.spec.grid, spec.grid)
    return {**clip.state, "position_embedding": positions}


def build_encoder(clip: Clip, spec: EncoderSpec) -> DenseEncoder:
    """Build a dense encoder of shape `spec`, which need not be the CLIP's own, with the CLIP's weights."""
    encoder = DenseEncoder(spec)
    encoder.load_state_dict(encoder_weights(clip, spec))
    return encoder


def _configuration(model: str | dict[str, Any], metadata: dict[str, str]) -> dict[str, Any]:
    if isinstance(model, dict):
        return model
    if model == FROM_WEIGHTS:
        if "open_clip_config" not in metadata:
            raise InputError(
                'model.clip = "from-weights", but the weights file does not say what it holds (no open_clip_config '
                'in its metadata): name the open_clip model instead, such as model.clip = "ViT-B-16"'
            )
        config: dict[str, Any] = json.loads(metadata["open_clip_config"])
        return config
    found: dict[str, Any] = open_clip.get_model_config(model)
    return found


def _build(config: dict[str, Any], name: str, seed: int, *, quick_gelu: bool) -> Any:  # noqa: ANN401
    vision, text = config.get("vision_cfg", {}), config.get("text_cfg", {})
    if vision.get("timm_model_name") or not isinstance(vision.get("layers", 12), int) or "multimodal_cfg" in config:
        raise InputError(f"{name} has no plain CLIP ViT as image tower: take one such as ViT-B-16")
    config = {**config, "quick_gelu": quick_gelu or config.get("quick_gelu", False)}
    custom = config.pop("custom_text", False) or "hf_model_name" in text
    with torch.random.fork_rng(devices=[]):  # random weights are a function of the seed alone
        torch.manual_seed(seed)
        try:
            module = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
        except (TypeError, ValueError, KeyError, AssertionError) as error:
            raise InputError(f"model.clip is no open_clip configuration: {first_line(error)}") from error
    return module.float().eval()


def _check_fit(source: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Refuse weights whose names or shapes are not exactly the model's."""
    unfit = {name for name in own.keys() & state.keys() if own[name].shape != state[name].shape}
    wrong = {"lacks": own.keys() - state.keys(), "has an unknown": state.keys() - own.keys(), "has a misshapen": unfit}
    for what, names in wrong.items():
        if names:
            name = min(names)
            shapes = f" ({tuple(state[name].shape)}, expected {tuple(own[name].shape)})" if names is unfit else ""
            raise InputError(
                f"weights {source} do not fit model.clip: the file {what} {name}{shapes}, "
                f"{len(names)} such in all; name the open_clip model that they belong to (--set model.clip=NAME, where "
                "there is --weights: NAME:FILE)"
            )


def _spec(visual: Any, name: str) -> EncoderSpec:  # noqa: ANN401
    """Describe an open_clip `VisionTransformer`; refuse towers that cannot be read patch by patch."""
    block = visual.transformer.resblocks[0]
    plain = type(block).__name__ == "ResidualAttentionBlock"
    if visual.attn_pool is not None or visual.pool_type not in ("tok", "avg") or not plain or visual.proj is None:
        raise InputError(
            f"{name} pools by attention or has altered blocks: expected a plain CLIP ViT, such as ViT-B-16"
        )
    activation: Activation = "gelu"
    if isinstance(block.mlp.gelu, QuickGELU):
        activation = "quick_gelu"
    elif getattr(block.mlp.gelu, "approximate", "none") == "tanh":
        activation = "gelu_tanh"
    return EncoderSpec(
        width=visual.conv1.out_channels,
        layers=len(visual.transformer.resblocks),
        heads=block.attn.num_heads,
        mlp_width=block.mlp.c_fc.out_features,
        patch_size=visual.patch_size[0],
        grid=tuple(visual.grid_size),
        embed_dim=visual.proj.shape[1],
        activation=activation,
        norm_eps=block.ln_1.eps,
        pre_norm=not isinstance(visual.ln_pre, nn.Identity),
        pool=visual.pool_type,
        norm_after_pool=visual.final_ln_after_pool,
    )


def _encoder_state(visual: nn.Module) -> dict[str, Tensor]:
    """Weights of an open_clip `VisionTransformer` under the names of `DenseEncoder`."""
    state: dict[str, Tensor] = {}
    for theirs, tensor in visual.state_dict().items():
        name = theirs
        for part, ours in _OUR_NAMES.items():
            name = name.replace(part, ours)
        state[name] = tensor.float().clone()
    state["projection.weight"] = state.pop("proj").T
    for name in [name for name in state if name.endswith(".gamma")]:
        # Layer scale, where a model has it, is a factor of the output projections.
        output = name.replace("ls_1.gamma", "attention.out_proj").replace("ls_2.gamma", "mlp.fc2")
        scale = state.pop(name)
        state[f"{output}.weight"] *= scale[:, None]
        state[f"{output}.bias"] *= scale
    return state


def _tokenizer(model: str | dict[str, Any], config: dict[str, Any]) -> Any:  # noqa: ANN401
    if isinstance(model, dict) or model == FROM_WEIGHTS:
        return SimpleTokenizer(context_length=config.get("text_cfg", {}).get("context_length", 77))
    try:
        return open_clip.get_tokenizer(model)
    except (ImportError, OSError) as error:
        raise InputError(f"the tokenizer of {model} is not available: {first_line(error)}") from error


def _hash(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
