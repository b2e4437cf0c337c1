"""Serves `semivl prepare checkpoint`: a published `.pth` (google-research/semivl) -> a run like any other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivl_cli.concepts.load import parse_definition
from semivl_cli.concepts.schema import Definition
from semivl_cli.config import RunConfig
from semivl_cli.data.registry import open_dataset
from semivl_cli.engine.assemble import clip_of, read_definition, statistics_of
from semivl_cli.engine.precedence import configure
from semivl_cli.engine.rundir.checkpoint import save_checkpoint
from semivl_cli.engine.rundir.layout import DEFINITION, SETTINGS, STATUS, check_free, lock_run
from semivl_cli.engine.text_vectors import embed_classes
from semivl_cli.engine.train.optim import build_optimizer
from semivl_cli.errors import InputError, first_line
from semivl_cli.files import write_json, write_text
from semivl_cli.model.build import model_spec
from semivl_cli.model.clip import load_clip
from semivl_cli.model.clip_weights import RANDOM
from semivl_cli.model.finetune import set_trainable
from semivl_cli.model.published_parameters import our_state, published_name
from semivl_cli.model.tensor_files import read_safetensors, read_state
from semivl_cli.reporter import Reporter
from semivl_cli.settings_toml import merge, to_toml


def prepare_checkpoint(
    file: Path,
    flags: Mapping[str, Any],
    assignments: Iterable[str],
    run: Path,
    text_file: Path | None,
    reporter: Reporter,
) -> Path:
    """Turn a published checkpoint into a run that stands before its first step, with the published weights.

    `file`: `.pth` with the state dict, bare or under `model`, with or without `module.` prefixes; also safetensors.
    `flags` name the dataset, whose recipe says how the model is built; `run` is written, and must hold nothing yet.
    `text_file`: class vectors `[N, D]`, `.npy` or safetensors; `None`: embedded with the CLIP weights.

    Raises:
        InputError: the file cannot be read, or a tensor of it is missing, unknown or misshapen; there is no text.
    """
    config = configure(merge({"fidelity": "published"}, flags), assignments)
    check_free(run)
    dataset = open_dataset(config.dataset)
    definition_text, source = read_definition(config, dataset)
    definition = parse_definition(definition_text, source, config.fidelity)
    translated = _translated(file)
    clip = load_clip(config.model.clip, RANDOM)  # for its shape alone; the weights come from the file
    spec = model_spec(config, clip.spec, statistics_of(config, clip))
    text = _class_vectors(text_file, config, definition, spec.encoder.embed_dim, reporter)
    model = spec.build(text)
    # the frozen CLIP comes from its own weights when training goes on
    state = {name: tensor for name, tensor in translated.items() if not name.startswith("guidance.")}
    _fit(file, model.state_dict(), state)
    model.load_state_dict({**state, "text": text})
    set_trainable(model.encoder, config.finetune)
    with lock_run(run):
        write_text(run / DEFINITION, definition_text)
        write_text(run / SETTINGS, f"# Imported from {file.name}.\n\n{to_toml(config)}")
        optimizer = build_optimizer(model, config.optimizer)
        progress = {"best": {}, "last": {}, "seconds": 0.0}
        save_checkpoint(run, 0, model, spec, optimizer, to_toml(config), definition_text, progress)
        write_json(run / STATUS, {"last": 0, "best": None, "finished": False})
    if frozen := len(translated) - len(state):
        reporter.note(f"{frozen} tensors of the frozen CLIP were left out: further training takes its own weights")
    return run


def _translated(file: Path) -> dict[str, Tensor]:
    """Read the state dict and give its tensors our names."""
    found = read_state(file)
    if "semivl" in found.metadata:
        raise InputError(f"{file} is of a run of semivl, no published checkpoint: give eval and predict the run itself")
    try:
        return our_state(found.tensors)
    except KeyError as error:
        raise InputError(f"{file} has the tensor {error.args[0]!r}, which no published SemiVL model has") from error


def _fit(file: Path, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Refuse a state dict that is not exactly the model's."""
    expected = own.keys() - {"text"}
    for what, names in (("lacks the", expected - state.keys()), ("has an unexpected", state.keys() - expected)):
        if names:
            raise InputError(
                f"{file} {what} tensor {published_name(min(names))} ({len(names)} such): the settings do not fit it"
            )
    for name in sorted(expected):
        if own[name].shape != state[name].shape:
            raise InputError(
                f"{file}: tensor {published_name(name)} has shape {tuple(state[name].shape)}, "
                f"expected {tuple(own[name].shape)}: the settings do not fit it"
            )


def _class_vectors(
    file: Path | None, config: RunConfig, definition: Definition, width: int, reporter: Reporter
) -> Tensor:
    """Class vectors `[N, D]`, from a file or from CLIP."""
    if file is None:
        try:
            clip = clip_of(config, open_dataset(config.dataset), reporter)
        except InputError as error:
            raise InputError(
                f"a published checkpoint holds no text vectors: give them with --text FILE, or {error}"
            ) from error
        return embed_classes(clip.text, definition, config.decoder.text)
    vectors = _array(file) if file.suffix == ".npy" else _only_tensor(file)
    expected = (len(definition.classes), width)
    if vectors.shape != expected:
        raise InputError(f"{file} has shape {tuple(vectors.shape)}: expected {expected}, one vector a class")
    if not bool(vectors.isfinite().all()):
        raise InputError(f"{file} holds numbers that are not finite: expected class vectors")
    return vectors.float()


def _array(file: Path) -> Tensor:
    """Read an array of NumPy, whose size is compared with the file before memory is taken for it."""
    try:
        array: NDArray[Any] = np.load(file, allow_pickle=False, mmap_mode="r")
        return torch.from_numpy(np.array(array, np.float32))
    except Exception as error:  # of a damaged header it raises nearly anything
        raise InputError(f"cannot read text vectors {file}: {first_line(error)}") from error


def _only_tensor(file: Path) -> Tensor:
    tensors = read_safetensors(file).tensors
    if len(tensors) != 1:
        raise InputError(f"{file} holds {len(tensors)} tensors: expected one, the class vectors")
    [vectors] = tensors.values()
    return vectors
