"""Where CLIP's weights come from and how they are read: a file of the user's, what was kept, open_clip's hubs."""

from __future__ import annotations

import difflib
import json
import os
import re
import struct
import urllib.request
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import huggingface_hub as hub
import open_clip
import torch
from open_clip.pretrained import download_pretrained_from_url, get_pretrained_cfg, list_pretrained_tags_by_model
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from semivl_cli.errors import InputError, first_line
from semivl_cli.files import cache_folder, hash_file

FROM_WEIGHTS = "from-weights"
RANDOM = "random"
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_DAMAGE = (SafetensorError, OSError, RuntimeError, EOFError, ValueError, LookupError, struct.error, UnpicklingError)
"""What the readers raise for a file that is damaged, cut off or something else."""


class Weights(NamedTuple):
    """What a weights file holds."""

    metadata: dict[str, str]
    state: dict[str, Tensor]
    by_openai: bool
    """Whether it is a file that OpenAI published."""


def find_weights(model: str | dict[str, Any], weights: str) -> tuple[Path | None, dict[str, Any]]:
    """Find the file of the weights (`None`: random), downloading it if need be, and what open_clip says of the tag.

    The arguments are those of `load_clip`. Whether a file that the user names is there, `read_weights` finds out.

    Raises:
        InputError: unknown name or tag, or weights that are not here and cannot be fetched.
    """
    if isinstance(model, str) and model != FROM_WEIGHTS and model not in open_clip.list_models():
        near = difflib.get_close_matches(model, open_clip.list_models(), n=3) or ["ViT-B-16"]
        raise InputError(f"unknown CLIP {model!r}: open_clip knows {', '.join(near)}, and others")
    if weights == RANDOM:
        return None, {}
    if is_file(weights):
        return Path(weights), {}
    if not isinstance(model, str) or model == FROM_WEIGHTS:
        raise InputError(f"model.weights = {weights!r}: a configured CLIP has no tags; give a weights file or random")
    tag: dict[str, Any] = get_pretrained_cfg(model, weights)
    for suffix in SUFFIXES:
        path = weights_folder(model) / (weights + suffix)
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
            f"({first_line(error)}): download {address} elsewhere and put it at {target}"
        ) from error


def is_file(weights: str) -> bool:
    """Whether the weights are named as a file, not by a tag."""
    return Path(weights).suffix in SUFFIXES or "/" in weights or os.sep in weights


def weights_folder(model: str) -> Path:
    """Where `semivl prepare weights` keeps the weights of a model: `$SEMIVL_WEIGHTS`, else the user's cache."""
    root = os.environ.get("SEMIVL_WEIGHTS")
    return (Path(root) if root else cache_folder("weights")) / model


def weights_id(model: str | dict[str, Any], weights: str, seed: int = 0) -> str:
    """Name a CLIP without building it: model, activation and the SHA-256 of its weights file, or a seed.

    The arguments are those of `load_clip`, and so are the errors where there is no such model or file.
    """
    path, tag = find_weights(model, weights)
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
        return "open_clip_config" in _metadata(path)
    except _DAMAGE as error:
        raise InputError(f"cannot read weights {path}: {first_line(error)}") from error


def read_weights(path: Path) -> Weights:
    """Read a weights file; nothing in it is executed unless its SHA-256 is one that OpenAI published.

    Raises:
        InputError: it is not there, damaged, or holds something else than tensors by name.
    """
    _present(path)
    try:
        if path.suffix == ".safetensors":
            return Weights(_metadata(path), load_file(path), by_openai=False)
        if path.suffix == ".pt" and hash_file(path) in _openai_hashes():
            return Weights({}, torch.jit.load(path, map_location="cpu").state_dict(), by_openai=True)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        raise InputError(
            f"cannot read weights {path}: neither plain tensors (.safetensors, .bin) nor, by its SHA-256, one of the "
            f"files that OpenAI published ({first_line(error)})"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"cannot read weights {path}: expected a state dict of tensors")
    return Weights({}, {key.removeprefix("module."): value for key, value in state.items()}, by_openai=False)


def _present(path: Path) -> Path:
    if not path.is_file():
        raise InputError(
            f"weights file {path} does not exist: expected a file, an open_clip tag such as openai, or random"
        )
    return path


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def _openai_hashes() -> set[str]:
    """SHA-256 of the files that OpenAI published; they are part of the addresses."""
    urls = (get_pretrained_cfg(model, "openai").get("url", "") for model in open_clip.list_openai_models())
    return {match.group() for url in urls if (match := re.search(r"[0-9a-f]{64}", url))}
