"""CLIP from open_clip, a hub or a file, taken apart: image tower, text tower, temperature.

The only file that knows open_clip.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import shutil
import struct
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, NamedTuple

import huggingface_hub as hub
import open_clip
import torch
from open_clip.pretrained import download_pretrained_from_url, get_pretrained_cfg, list_pretrained_tags_by_model
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import QuickGELU, VisionTransformer
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from semivl_cli.errors import InputError
from semivl_cli.files import cache_folder, hash_file, replacing
from semivl_cli.model.blocks import Activation
from semivl_cli.model.encoders.dense_vit import DenseEncoder, EncoderSpec, SkipPath, resize_positions
from semivl_cli.model.published_names import our_state

FROM_WEIGHTS = "from-weights"
RANDOM = "random"
_OPENAI_SCALE = 100.0  # the learned temperature of OpenAI's models, which a converted image tower does not hold
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_DAMAGE = (SafetensorError, OSError, RuntimeError, EOFError, ValueError, LookupError, struct.error, UnpicklingError)
"""What the readers raise for a file that is damaged, cut off or something else."""


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
    statistics: tuple[tuple[float, ...], tuple[float, ...]]
    """Mean and standard deviation of the images it was trained on."""


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
            for token in line:
                if token not in self._rows:
                    word = self._tokenizer.decode([token]).strip()
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
    path, tag = _find(model, weights)
    content = _read_file(path) if path else _Content({}, {}, False)
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
            _load(module, content.state, str(path))
        token_ids = json.loads(content.metadata["token_ids"]) if "token_ids" in content.metadata else None
        text = TextTower(module, _tokenizer(model, config), token_ids)
    mean = json.loads(content.metadata.get("image_mean", "null")) or tag.get("mean") or open_clip.OPENAI_DATASET_MEAN
    std = json.loads(content.metadata.get("image_std", "null")) or tag.get("std") or open_clip.OPENAI_DATASET_STD
    sha256 = _hash(converted or module.state_dict())
    state = converted or _encoder_state(module.visual)
    del module.visual  # the text tower stays
    return Clip(
        name=f"{name}, {weights if not path or tag else path.name} weights",
        sha256=sha256,
        spec=spec,
        state=state,
        text=text,
        logit_scale=_OPENAI_SCALE if converted else float(module.logit_scale.detach().exp()),
        statistics=(tuple(mean), tuple(std)),
    )


def weights_id(model: str | dict[str, Any], weights: str, seed: int = 0) -> str:
    """Name a CLIP without building it: model, activation and the SHA-256 of its weights file, or a seed.

    The arguments are those of `load_clip`, and so are the errors where there is no such model or file.
    """
    path, tag = _find(model, weights)
    if path is None:
        return f"{json.dumps(model)} random {seed}"
    # One file may be read with either activation: its tag says which, its path alone does not.
    activation = " quick_gelu" if tag.get("quick_gelu") else ""
    return f"{json.dumps(model)}{activation} {hash_file(_present(path))}"


def describes_itself(path: Path) -> bool:
    """Whether a weights file says in its metadata which model it holds, so that `from-weights` can build it."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return "open_clip_config" in (file.metadata() or {})
    except _DAMAGE as error:
        raise InputError(f"cannot read weights {path}: {_first_line(error)}") from error


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


def encoder_spec(
    clip: EncoderSpec,
    activation: Literal["checkpoint", "gelu"],
    norm_eps: float | Literal["checkpoint"],
    image_size: int | Literal["checkpoint"],
) -> EncoderSpec:
    """Change how a CLIP of a given shape is read.

    Args:
        clip: its own shape.
        activation: its own, or the exact GELU.
        norm_eps: its own, or a number.
        image_size: size in pixels for whose grid of patches the position embedding is stored; or its own.
    """
    spec = clip
    if activation != "checkpoint":
        spec = replace(spec, activation=activation)
    if norm_eps != "checkpoint":
        spec = replace(spec, norm_eps=norm_eps)
    if image_size != "checkpoint":
        spec = replace(spec, grid=(image_size // spec.patch_size,) * 2)
    return spec


def encoder_weights(clip: Clip, spec: EncoderSpec) -> dict[str, Tensor]:
    """Weights of a `DenseEncoder` of shape `spec`: CLIP's own, its position embedding resized to the stored grid."""
    positions = resize_positions(clip.state["position_embedding"], clip.spec.grid, spec.grid)
    return {**clip.state, "position_embedding": positions}


def build_encoder(
    clip: Clip,
    *,
    activation: Literal["checkpoint", "gelu"],
    norm_eps: float | Literal["checkpoint"],
    image_size: int | Literal["checkpoint"],
    skips: tuple[int, ...] = (),
    skip_path: SkipPath = "value",
) -> DenseEncoder:
    """Build the dense encoder with CLIP's weights; the arguments are those of `encoder_spec` and `DenseEncoder`."""
    encoder = DenseEncoder(encoder_spec(clip.spec, activation, norm_eps, image_size), skips, skip_path)
    encoder.load_state_dict(encoder_weights(clip, encoder.spec))
    return encoder


def weights_folder(model: str) -> Path:
    """Where `semivl prepare weights` keeps the weights of a model: `$SEMIVL_WEIGHTS`, else the user's cache."""
    root = os.environ.get("SEMIVL_WEIGHTS")
    return (Path(root) if root else cache_folder("weights")) / model


def keep_weights(model: str, weights: str) -> Path:
    """Fetch (a tag) or take (a file) the weights of an open_clip model, verify that they fit, and keep them.

    Returns:
        The kept file; afterwards `weights` (for a file: its stem, or `openai` for OpenAI's own) is a known tag.
    """
    path, _ = _find(model, weights)
    if path is None:
        raise InputError("random weights are made when they are needed: there is nothing to keep")
    content = _read_file(path)
    load_clip(model, str(path))
    is_file = _is_file(weights)
    tag = "openai" if content.by_openai else path.stem if is_file else weights
    kept = weights_folder(model) / (tag + path.suffix)
    if kept.resolve() != path.resolve():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as temporary:
            shutil.copyfile(path, temporary)
    return kept


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
    config = {"quick_gelu": False, **config}
    custom = config.pop("custom_text", False) or "hf_model_name" in text
    with torch.random.fork_rng(devices=[]):  # random weights are a function of the seed alone
        torch.manual_seed(seed)
        try:
            module = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(
                **{**config, "quick_gelu": config["quick_gelu"] or quick_gelu}
            )
        except (TypeError, ValueError, KeyError, AssertionError) as error:
            raise InputError(f"model.clip is no open_clip configuration: {_first_line(error)}") from error
    return module.float().eval()


def _is_file(weights: str) -> bool:
    return Path(weights).suffix in _SUFFIXES or "/" in weights or os.sep in weights


def _find(model: str | dict[str, Any], weights: str) -> tuple[Path | None, dict[str, Any]]:
    """The file of the weights (`None`: random) and what open_clip says of the tag."""
    if isinstance(model, str) and model != FROM_WEIGHTS and model not in open_clip.list_models():
        near = difflib.get_close_matches(model, open_clip.list_models(), n=3) or ["ViT-B-16"]
        raise InputError(f"unknown CLIP {model!r}: open_clip knows {', '.join(near)}, and others")
    if weights == RANDOM:
        return None, {}
    if _is_file(weights):
        return Path(weights), {}
    if not isinstance(model, str) or model == FROM_WEIGHTS:
        raise InputError(f"model.weights = {weights!r}: a configured CLIP has no tags; give a weights file or random")
    tag: dict[str, Any] = get_pretrained_cfg(model, weights)
    kept = [weights_folder(model) / (weights + suffix) for suffix in _SUFFIXES]
    for path in kept:
        if path.is_file():
            return path, tag
    if not tag:
        tags = list_pretrained_tags_by_model(model)
        raise InputError(
            f"CLIP {model} has no weights {weights!r}: known are {', '.join(tags) or 'none'}; or give a file"
        )
    return _fetch(model, weights, tag), tag


def _fetch(model: str, weights: str, tag: dict[str, Any]) -> Path:
    """Find the tag's file in the hub's cache, or download it."""
    repository, _, filename = tag.get("hf_hub", "").rpartition("/")
    names = [filename] if filename else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    address = f"{hub.constants.ENDPOINT}/{repository}/resolve/main/{names[0]}" if repository else tag["url"]
    for name in names if repository else ():
        cached = hub.try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=10).close()
        if not repository:
            return Path(download_pretrained_from_url(address))
        return Path(hub.hf_hub_download(repository, names[0]))
    except (OSError, ValueError, RuntimeError) as error:
        target = weights_folder(model) / (weights + Path(address).suffix)
        raise InputError(
            f"the {weights} weights of {model} are not on this machine and could not be fetched "
            f"({_first_line(error)}): download {address} elsewhere and put it at {target}"
        ) from error


def _present(path: Path) -> Path:
    if not path.is_file():
        raise InputError(
            f"weights file {path} does not exist: expected a file, an open_clip tag such as openai, or random"
        )
    return path


class _Content(NamedTuple):
    metadata: dict[str, str]
    state: dict[str, Tensor]
    by_openai: bool


def _read_file(path: Path) -> _Content:
    """Read a weights file; nothing in it is executed unless its SHA-256 is one that OpenAI published."""
    _present(path)
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                metadata = dict(file.metadata() or {})
            return _Content(metadata, load_file(path), by_openai=False)
        if path.suffix == ".pt" and hash_file(path) in _openai_hashes():
            return _Content({}, torch.jit.load(path, map_location="cpu").state_dict(), by_openai=True)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        raise InputError(
            f"cannot read weights {path}: neither plain tensors (.safetensors, .bin) nor, by its SHA-256, one of the "
            f"files that OpenAI published ({_first_line(error)})"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"cannot read weights {path}: expected a state dict of tensors")
    return _Content({}, {key.removeprefix("module."): value for key, value in state.items()}, by_openai=False)


def _load(module: nn.Module, state: dict[str, Tensor], source: str) -> None:
    # TorchScript files also hold attributes, and constants that the model makes itself.
    extra = ("input_resolution", "context_length", "vocab_size", "attn_mask")
    state = {
        key: value.float() if value.is_floating_point() else value for key, value in state.items() if key not in extra
    }
    own = module.state_dict()
    _check_fit(source, own, state)
    module.load_state_dict(state)


def _check_fit(source: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Refuse weights whose names or shapes are not exactly the model's."""
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    unfit = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    for what, names in (("lacks", missing), ("has an unknown", unexpected), ("has a misshapen", sorted(unfit))):
        if names:
            detail = (
                f" ({tuple(state[names[0]].shape)}, expected {tuple(own[names[0]].shape)})"
                if what.endswith("pen")
                else ""
            )
            raise InputError(
                f"weights {source} do not fit model.clip: the file {what} {names[0]}{detail}, "
                f"{len(names)} such in all; name the open_clip model that they belong to (--set model.clip=NAME, where "
                "there is --weights: NAME:FILE)"
            )


def _spec(visual: Any, name: str) -> EncoderSpec:  # noqa: ANN401
    """Describe an open_clip `VisionTransformer`; refuse towers that cannot be read patch by patch."""
    if not isinstance(visual, VisionTransformer):
        raise InputError(
            f"{name} has a {type(visual).__name__} image tower: expected a plain CLIP ViT, such as ViT-B-16"
        )
    block = visual.transformer.resblocks[0]
    plain = type(block).__name__ == "ResidualAttentionBlock"
    if visual.attn_pool is not None or visual.pool_type not in ("tok", "avg") or not plain or visual.proj is None:
        raise InputError(
            f"{name} pools by attention or has altered blocks: expected a plain CLIP ViT, such as ViT-B-16"
        )
    return EncoderSpec(
        width=visual.conv1.out_channels,
        layers=len(visual.transformer.resblocks),
        heads=block.attn.num_heads,
        mlp_width=block.mlp.c_fc.out_features,
        patch_size=visual.patch_size[0],
        grid=tuple(visual.grid_size),
        embed_dim=visual.proj.shape[1],
        activation=_activation(block.mlp.gelu),
        norm_eps=block.ln_1.eps,
        pre_norm=not isinstance(visual.ln_pre, nn.Identity),
        pool=visual.pool_type,
        norm_after_pool=visual.final_ln_after_pool,
    )


def _activation(layer: nn.Module) -> Activation:
    if isinstance(layer, QuickGELU):
        return "quick_gelu"
    return "gelu_tanh" if getattr(layer, "approximate", "none") == "tanh" else "gelu"


def _encoder_state(visual: Any) -> dict[str, Tensor]:  # noqa: ANN401
    """Weights of an open_clip `VisionTransformer` under the names of `DenseEncoder`."""
    state = {
        "patch_embedding.weight": visual.conv1.weight,
        "class_token": visual.class_embedding,
        "position_embedding": visual.positional_embedding,
        "post_norm.weight": visual.ln_post.weight,
        "post_norm.bias": visual.ln_post.bias,
        "projection.weight": visual.proj.T,
    }
    if not isinstance(visual.ln_pre, nn.Identity):
        state |= {"pre_norm.weight": visual.ln_pre.weight, "pre_norm.bias": visual.ln_pre.bias}
    for i, block in enumerate(visual.transformer.resblocks):
        # Layer scale, where a model has it, is a factor of the output projections.
        scale1, scale2 = getattr(block.ls_1, "gamma", None), getattr(block.ls_2, "gamma", None)
        for name, layer, scale in (
            ("norm1", block.ln_1, None),
            ("norm2", block.ln_2, None),
            ("attention.out_proj", block.attn.out_proj, scale1),
            ("mlp.fc1", block.mlp.c_fc, None),
            ("mlp.fc2", block.mlp.c_proj, scale2),
        ):
            weight, bias = layer.weight, layer.bias
            state[f"blocks.{i}.{name}.weight"] = weight if scale is None else weight * scale[:, None]
            state[f"blocks.{i}.{name}.bias"] = bias if scale is None else bias * scale
        state[f"blocks.{i}.attention.in_proj_weight"] = block.attn.in_proj_weight
        state[f"blocks.{i}.attention.in_proj_bias"] = block.attn.in_proj_bias
    return {name: tensor.detach().float().clone() for name, tensor in state.items()}


def _tokenizer(model: str | dict[str, Any], config: dict[str, Any]) -> Any:  # noqa: ANN401
    if isinstance(model, dict) or model == FROM_WEIGHTS:
        return SimpleTokenizer(context_length=config.get("text_cfg", {}).get("context_length", 77))
    try:
        return open_clip.get_tokenizer(model)
    except (ImportError, OSError) as error:
        raise InputError(f"the tokenizer of {model} is not available: {_first_line(error)}") from error


def _hash(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _openai_hashes() -> set[str]:
    """SHA-256 of the files that OpenAI published; they are part of the addresses."""
    urls = (get_pretrained_cfg(model, "openai").get("url", "") for model in open_clip.list_openai_models())
    return {match.group() for url in urls if (match := re.search(r"[0-9a-f]{64}", url))}


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
