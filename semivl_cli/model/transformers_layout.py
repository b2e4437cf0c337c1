"""CLIP weights as the library transformers stores them (openai/clip-vit-*), under open_clip's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from semivl_cli.documents import Document, read_json
from semivl_cli.errors import InputError

_TOWERS = {"text_model.": "", "vision_model.": "visual."}
_PARTS = {
    "embeddings.token_embedding.": "token_embedding.",
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.": "conv1.",
    "pre_layrnorm.": "ln_pre.",  # as it is spelled there
    "pre_layernorm.": "ln_pre.",
    "post_layernorm.": "ln_post.",
    "final_layer_norm.": "ln_final.",
    "encoder.layers.": "transformer.resblocks.",
}
_BLOCK = {
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
    ".self_attn.": ".attn.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
}
_PROJECTIONS = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}
_POSITIONS = "embeddings.position_ids"
"""The numbers 0, 1, 2..., which older files hold."""
_QUERY = re.compile(r"(.*\.attn\.)q_proj\.(weight|bias)")


class _Tower(Document):
    hidden_act: str = "quick_gelu"  # the library's own default, and what OpenAI's models have


class _Config(_Tower):
    """What `config.json` says of the activation: of the whole CLIP in its parts, of a single tower at the top."""

    model_type: str = ""
    vision_config: _Tower = Field(default_factory=_Tower)
    text_config: _Tower = Field(default_factory=_Tower)


def is_transformers(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has transformers' names."""
    return any(name.startswith(("vision_model.", "text_model.")) for name in state)


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give transformers' tensors open_clip's names and shapes; what has no place there keeps its name."""
    renamed = {_name(name): tensor for name, tensor in state.items() if not name.endswith(_POSITIONS)}
    for name in _PROJECTIONS.values():
        if name in renamed and renamed[name].ndim == 2:
            renamed[name] = renamed[name].T.contiguous()
    for name in list(renamed):
        if match := _QUERY.fullmatch(name):
            names = [f"{match[1]}{part}_proj.{match[2]}" for part in "qkv"]
            parts = [renamed[part] for part in names if part in renamed]
            if len(parts) == 3 and len({part.shape for part in parts}) == 1 and parts[0].ndim:
                renamed[f"{match[1]}in_proj_{match[2]}"] = torch.cat(parts)
                for part in names:
                    del renamed[part]
    return renamed


def quick_gelu_of(path: Path) -> bool:
    """Whether the weights in transformers' layout at `path` are of a model with quick GELU.

    The `config.json` beside them says so; where none is, they are taken for OpenAI's, which are.

    Raises:
        InputError: `config.json` is damaged, or the activation is neither that nor exact GELU.
    """
    config = path.with_name("config.json")
    if not config.is_file():
        return True
    content = read_json(config, _Config)
    if not content.model_type.startswith("clip"):
        return True
    named = content.vision_config if content.model_type == "clip" else content
    if named.hidden_act not in ("quick_gelu", "gelu"):
        raise InputError(f"{config}: hidden_act {named.hidden_act!r}: expected the activation quick_gelu or gelu")
    return named.hidden_act == "quick_gelu"


def _name(theirs: str) -> str:
    if theirs in _PROJECTIONS:
        return _PROJECTIONS[theirs]
    for tower, prefix in _TOWERS.items():
        if theirs.startswith(tower):
            rest = theirs.removeprefix(tower)
            for part, ours in _PARTS.items():
                if rest.startswith(part):
                    name = prefix + ours + rest.removeprefix(part)
                    for inner, our_inner in _BLOCK.items():
                        name = name.replace(inner, our_inner)
                    return name
    return theirs
