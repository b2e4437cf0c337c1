"""Serves `semivl concepts embed`: text vectors as a file, kept in a cache by a hash of words, templates and weights."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from safetensors.torch import save
from torch import Tensor

from semivl_cli import __version__
from semivl_cli.concepts.prompts import Variant, prompts, texts
from semivl_cli.concepts.schema import Definition
from semivl_cli.config import RunConfig
from semivl_cli.data.registry import open_dataset
from semivl_cli.engine.assemble import clip_of, weights_of
from semivl_cli.engine.text_vectors import ClassText, class_vectors, concept_vectors
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import cache_folder, write_bytes
from semivl_cli.model.clip_weights import weights_id
from semivl_cli.model.tensor_files import read_header, read_safetensors
from semivl_cli.reporter import Reporter


@dataclass(frozen=True, kw_only=True)
class TextVectors:
    """What a text tower makes of a definition: float32, unit length."""

    tensors: dict[str, Tensor]
    """`concepts` `[K, D]`, and of the classes `[N, D]` the variants of `decoder.text`: `name`, `guideline`, `mean`."""
    metadata: Mapping[str, str]
    """JSON by name: `classes`, `concepts`, `class_of_concept`, `templates`, `prompts`, `weights`, `semivl`."""
    cached: bool
    """Whether they came from the cache, without any model."""


def embed(config: RunConfig, definition: Definition, reporter: Reporter) -> TextVectors:
    """Embed concepts and classes, or take them from the cache, in which case no model is loaded.

    A cached file that is damaged is made anew; a cache that cannot be written is said, and costs nothing else.
    """
    dataset = open_dataset(config.dataset)
    metadata = _metadata(definition, weights_id(config.model.clip, weights_of(config, dataset), config.seed))
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()
    path = cache_folder("text") / f"{digest}.safetensors"
    if known := _read(path, metadata):
        return known
    tower = clip_of(config, dataset, reporter).text
    vectors = {"concepts": concept_vectors(tower, definition)}
    vectors |= {text: class_vectors(tower, definition, text) for text in get_args(ClassText)}
    made = TextVectors(tensors=vectors, metadata=metadata, cached=False)
    try:
        write_vectors(path, made)
    except RunError as error:
        reporter.note(f"the text vectors are not kept for the next time: {error}")
    return made


def check_target(path: Path) -> None:
    """Refuse to overwrite anything but text vectors, as `write_vectors` writes them."""
    if not os.path.lexists(path):
        return
    try:
        ours = path.is_file() and {"prompts", "sha256"} <= read_header(path).metadata.keys()
    except InputError:
        ours = False
    if not ours:
        raise InputError(f"{path} exists and holds no text vectors that semivl wrote: give another --out")


def write_vectors(path: Path, vectors: TextVectors) -> None:
    """Write a safetensors file through a temporary name."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # safetensors itself would not notice a changed number
        write_bytes(path, save(vectors.tensors, {**vectors.metadata, "sha256": _checksum(vectors.tensors)}))
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def _metadata(definition: Definition, weights: str) -> dict[str, str]:
    """Everything that decides the vectors, as JSON by name."""
    kinds: tuple[Variant, ...] = ("concepts", "name", "guideline")
    found = {kind: texts(definition, kind) for kind in kinds}
    values = {
        "classes": found["name"].texts,
        "concepts": found["concepts"].texts,
        "class_of_concept": found["concepts"].class_of_text,
        "templates": definition.templates,
        "prompts": {
            kind: [prompts(text, definition.templates) for text in variant.texts] for kind, variant in found.items()
        },
        "weights": weights,
        "semivl": __version__,
    }
    return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    return hashlib.sha256(b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))).hexdigest()


def _read(path: Path, metadata: Mapping[str, str]) -> TextVectors | None:
    """Read a cached file; `None` where there is none, or it is not whole."""
    try:
        found, tensors = read_safetensors(path)
    except InputError:
        return None
    plain = all(tensor.dtype == torch.float32 for tensor in tensors.values())
    if not plain or found.pop("sha256", None) != _checksum(tensors) or found != metadata:
        return None
    return TextVectors(tensors=tensors, metadata=metadata, cached=True)
