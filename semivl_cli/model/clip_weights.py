"""Where CLIP's weights come from and how they are read: a file of the user's, what was kept, open_clip's hubs."""

from __future__ import annotations

import difflib
import json
import os
import re
import urllib.request
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import huggingface_hub as hub
import open_clip
import torch
from open_clip.pretrained import download_pretrained_from_url, get_pretrained_cfg, list_pretrained_tags_by_model
from pydantic import Field
from torch import Tensor

from semivl_cli.documents import Document, as_type, load_json
from semivl_cli.errors import InputError, first_line
from semivl_cli.files import cache_folder, hash_file
from semivl_cli.model.tensor_files import read_header, read_state
from semivl_cli.model.transformers_layout import from_transformers, is_transformers, quick_gelu_of

FROM_WEIGHTS = "from-weights"
RANDOM = "random"
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_Color = Annotated[list[Annotated[float, Field(ge=0, le=10)]], Field(min_length=3, max_length=3)]


class About(Document):
    """What the metadata of a safetensors file may say of the weights, each as JSON."""

    open_clip_config: dict[str, Any] | None = None
    token_ids: Annotated[list[Annotated[int, Field(ge=0, lt=49408)]], Field(min_length=1)] | None = None
    """Which of the tokenizer's tokens the rows of the embedding stand for; `None`: all of them."""
    image_mean: _Color | None = None
    image_std: Annotated[list[Annotated[float, Field(gt=0, le=10)]], Field(min_length=3, max_length=3)] | None = None
    quick_gelu: bool = False


class Weights(NamedTuple):
    """What a weights file holds."""

    about: About
    state: dict[str, Tensor]
    """Under open_clip's names, or as the published code converted an image tower."""
    by_openai: bool = False
    """Whether it is a file that OpenAI published."""
    by_transformers: bool = False
    """Whether it has transformers' layout."""


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
    path = Path(weights)
    return path.suffix in SUFFIXES or "/" in weights or os.sep in weights or (path.suffix != "" and path.is_file())


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
    if (config := path.with_name("config.json")).is_file():  # of transformers, says it too
        activation += f" {hash_file(config)}"
    return f"{json.dumps(model)}{activation} {hash_file(_present(path))}"


def describes_itself(path: Path) -> bool:
    """Whether a weights file says in its metadata which model it holds, so that `from-weights` can build it."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    return "open_clip_config" in read_header(path).metadata


def read_weights(path: Path) -> Weights:
    """Read a weights file; nothing in it is executed unless its SHA-256 is one that OpenAI published.

    Raises:
        InputError: it is not there, damaged, or holds something else than tensors by name.
    """
    _present(path)
    if path.suffix == ".pt" and hash_file(path) in _openai_hashes():
        state: dict[str, Tensor] = torch.jit.load(path, map_location="cpu").state_dict()
        return Weights(About(), state, by_openai=True)
    try:
        metadata, state = read_state(path)
    except InputError as error:
        code = "; with code a file is taken if OpenAI published it, by its SHA-256" if path.suffix == ".pt" else ""
        raise InputError(f"cannot read weights {error}{code}") from error
    about = {name: load_json(metadata[name], f"{path}: {name}") for name in About.model_fields if name in metadata}
    said = as_type(about, About, f"cannot read weights {path}")
    if is_transformers(state):
        said = said.model_copy(update={"quick_gelu": quick_gelu_of(path)})
        return Weights(said, from_transformers(state), by_transformers=True)
    return Weights(said, state)


def _present(path: Path) -> Path:
    if not path.is_file():
        raise InputError(
            f"weights file {path} does not exist: expected a file, an open_clip tag such as openai, or random"
        )
    return path


def _openai_hashes() -> set[str]:
    """SHA-256 of the files that OpenAI published; they are part of the addresses."""
    urls = (get_pretrained_cfg(model, "openai").get("url", "") for model in open_clip.list_openai_models())
    return {match.group() for url in urls if (match := re.search(r"[0-9a-f]{64}", url))}
