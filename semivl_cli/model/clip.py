"""CLIP from open_clip, taken apart: image tower, text tower, temperature."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import QuickGELU
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from semivl_cli.documents import Document, as_type
from semivl_cli.errors import InputError, first_line
from semivl_cli.limits import PARAMETERS
from semivl_cli.model.blocks import Activation
from semivl_cli.model.clip_weights import FROM_WEIGHTS, About, Weights, find_weights, read_weights
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
_Size = Annotated[int, Field(ge=1, le=2**16)]
_Depth = Annotated[int, Field(ge=1, le=1000)]


class _VisionConfig(Document):
    model_config = ConfigDict(extra="allow")

    layers: _Depth | list[_Depth] = 12
    width: _Size = 768
    head_width: _Size = 64
    mlp_ratio: Annotated[float, Field(gt=0, le=100)] = 4.0
    patch_size: _Size = 16
    image_size: _Size | Annotated[list[_Size], Field(min_length=2, max_length=2)] = 224


class _TextConfig(Document):
    model_config = ConfigDict(extra="allow")

    context_length: _Size = 77
    vocab_size: Annotated[int, Field(ge=1, le=2**20)] = 49408
    width: _Size = 512
    heads: _Size = 8
    layers: _Depth = 12
    mlp_ratio: Annotated[float, Field(gt=0, le=100)] = 4.0


class _Config(Document):
    """Configuration of an open_clip model, which a weights file or the settings tell; what else there is may be."""

    model_config = ConfigDict(extra="allow")

    embed_dim: _Size
    vision_cfg: _VisionConfig
    text_cfg: _TextConfig

    @property
    def parameters(self) -> float:
        """How many numbers such a model has, about."""
        vision, text = self.vision_cfg, self.text_cfg
        depth = vision.layers if isinstance(vision.layers, int) else sum(vision.layers)
        side = vision.image_size if isinstance(vision.image_size, int) else max(vision.image_size)
        patches = (side // vision.patch_size) ** 2
        of_images = depth * (4 + 2 * vision.mlp_ratio) * vision.width + 3 * vision.patch_size**2 + patches
        of_texts = text.layers * (4 + 2 * text.mlp_ratio) * text.width + text.vocab_size + text.context_length
        return (
            vision.width * (of_images + self.embed_dim)
            + text.width * (of_texts + self.embed_dim)
            + text.context_length**2  # which word looks at which
        )


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
    content = read_weights(path) if path else Weights(About(), {})
    about = content.about
    config = _configuration(model, content)
    name = model if isinstance(model, str) and model != FROM_WEIGHTS else "CLIP"
    quick_gelu = content.by_openai or about.quick_gelu or bool(tag.get("quick_gelu"))
    module = _build(config, name, seed, quick_gelu=quick_gelu)
    spec = _spec(module.visual, name)
    state, own, source = _state(content), module.state_dict(), str(path)
    converted = _converted_encoder(content.state)
    alone = bool(state) and all(key.startswith("visual.") for key in state)  # an image tower
    if converted is not None:
        _check_fit(source, content, _encoder_state(module.visual), converted)
    elif alone:
        _check_fit(source, content, {key: value for key, value in own.items() if key.startswith("visual.")}, state)
    elif path:
        _check_fit(source, content, own, state)
    if converted is not None or alone:
        text = TextTower(None, None, None)
    else:
        text = TextTower(module, _tokenizer(model, config), _known_tokens(source, about, config))
    if path and converted is None:
        module.load_state_dict(state, strict=not alone)
    mean = about.image_mean or tag.get("mean") or open_clip.OPENAI_DATASET_MEAN
    std = about.image_std or tag.get("std") or open_clip.OPENAI_DATASET_STD
    clip = Clip(
        name=f"{name}, {weights if not path or tag else path.name} weights",
        sha256=_hash(converted or module.state_dict()),
        spec=spec,
        state=converted or _encoder_state(module.visual),
        text=text,
        logit_scale=_OPENAI_SCALE if converted or alone else float(module.logit_scale.detach().exp()),
        statistics=(tuple(mean), tuple(std)),
    )
    del module.visual  # the text tower stays
    return clip


def _state(content: Weights) -> dict[str, Tensor]:
    """Return the weights without what TorchScript files hold besides: attributes, constants that the model makes."""
    extra = ("input_resolution", "context_length", "vocab_size", "attn_mask")
    return {name: tensor for name, tensor in content.state.items() if name not in extra}


def _known_tokens(source: str, about: About, config: dict[str, Any]) -> list[int] | None:
    """Return the tokens that the text tower knows, `None` for all; refuse such as its embedding has no rows for."""
    rows = config.get("text_cfg", {}).get("vocab_size", 49408)
    if about.token_ids is not None and len(set(about.token_ids)) != rows:
        raise InputError(f"weights {source}: token_ids must name {rows} tokens, one a row of the embedding, each once")
    return about.token_ids


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


def _configuration(model: str | dict[str, Any], content: Weights) -> dict[str, Any]:
    if isinstance(model, dict):
        return _own(model, content)
    if model == FROM_WEIGHTS:
        if content.about.open_clip_config is None:
            raise InputError(
                'model.clip = "from-weights", but the weights file does not say what it holds (no open_clip_config '
                'in its metadata): name the open_clip model instead, such as model.clip = "ViT-B-16"'
            )
        return _own(content.about.open_clip_config, content)
    found: dict[str, Any] = open_clip.get_model_config(model)
    return found


def _own(config: dict[str, Any], content: Weights) -> dict[str, Any]:
    """Return a configuration that somebody wrote; refuse sizes that no model has, and models of other libraries."""
    checked = as_type(config, _Config, "model.clip is no open_clip configuration")
    foreign = [name for name in config["text_cfg"] if name.startswith("hf_")]
    if foreign:
        raise InputError(f"model.clip is no open_clip configuration that is read here: {foreign[0]} would be fetched")
    held = sum(tensor.numel() for tensor in content.state.values())
    PARAMETERS.check(checked.parameters / 1e6, "model.clip")  # before memory is taken for it
    if held and checked.parameters > 4 * held + 4e6:  # an image tower alone is about half
        raise InputError(
            f"model.clip has about {checked.parameters / 1e6:.0f} million parameters, the weights are "
            f"{held / 1e6:.0f} million: name the open_clip model that they belong to"
        )
    return config


def _build(config: dict[str, Any], name: str, seed: int, *, quick_gelu: bool) -> Any:  # noqa: ANN401
    vision, text = config.get("vision_cfg", {}), config.get("text_cfg", {})
    pooled = vision.get("attentional_pool")
    if (
        vision.get("timm_model_name")
        or pooled
        or not isinstance(vision.get("layers", 12), int)
        or "multimodal_cfg" in config
    ):
        raise InputError(f"{name} has no plain CLIP ViT as image tower: take one such as ViT-B-16")
    config = {**config, "quick_gelu": quick_gelu or config.get("quick_gelu", False)}
    custom = config.pop("custom_text", False) or "hf_model_name" in text
    with torch.random.fork_rng(devices=[]):  # random weights are a function of the seed alone
        torch.manual_seed(seed)
        try:
            module = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
        except Exception as error:  # what somebody wrote may fail in any way
            raise InputError(f"model.clip is no open_clip configuration: {first_line(error)}") from error
    return module.float().eval()


def _check_fit(source: str, content: Weights, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Refuse weights whose names or shapes are not exactly the model's; say whose they are."""
    unfit = {name for name in own.keys() & state.keys() if own[name].shape != state[name].shape}
    wrong = {"lacks": own.keys() - state.keys(), "has an unknown": state.keys() - own.keys(), "has a misshapen": unfit}
    for what, names in wrong.items():
        if names:
            name = min(names)
            shapes = f" ({tuple(state[name].shape)}, expected {tuple(own[name].shape)})" if names is unfit else ""
            layout = " (in transformers' layout, read under open_clip's names)" if content.by_transformers else ""
            fitting = _fitting_models(state)
            whose = (
                f"their shapes are those of {', '.join(fitting[:3])}: name it"
                if fitting
                else ("name the open_clip model that they belong to")
            )
            raise InputError(
                f"weights {source}{layout} do not fit model.clip: the file {what} {name}{shapes}, {len(names)} such in "
                f"all; {whose} (--set model.clip=NAME, where there is --weights: NAME:FILE)"
            )


def _fitting_models(state: Mapping[str, Tensor]) -> list[str]:
    """Name the open_clip models whose image and text towers have the sizes of these weights."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}

    def depth(blocks: str) -> int:
        return len({name.removeprefix(blocks).split(".")[0] for name in shapes if name.startswith(blocks)})

    found = []
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        vision, text = ({**part} for part in (config["vision_cfg"], config["text_cfg"]))
        width, size, patch = vision.get("width", 768), vision.get("image_size", 224), vision.get("patch_size", 16)
        if not isinstance(size, int) or not isinstance(patch, int) or "timm_model_name" in vision:
            continue
        sizes = {
            "visual.conv1.weight": (width, 3, patch, patch),
            "visual.positional_embedding": ((size // patch) ** 2 + 1, width),
            "visual.proj": (width, config["embed_dim"]),
            "token_embedding.weight": (text.get("vocab_size", 49408), text.get("width", 512)),
        }
        depths = (vision.get("layers", 12), text.get("layers", 12))
        if all(shapes.get(part) == shape for part, shape in sizes.items()) and depths == (
            depth("visual.transformer.resblocks."),
            depth("transformer.resblocks."),
        ):
            found.append(name)
    return found


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
