"""A run's state on disk: safetensors and JSON, complete or not there at all; and whether it is still undamaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from semivl_cli.documents import Document, parse_json, read_json
from semivl_cli.engine.rundir.layout import CHECKPOINTS, SCORES, checkpoint_folder
from semivl_cli.errors import InputError
from semivl_cli.files import hash_file, replacing_folder, sweep, writing
from semivl_cli.model.build import ModelSpec
from semivl_cli.model.semivl import SemiVL
from semivl_cli.model.tensor_files import read_header, read_safetensors, write_safetensors
from semivl_cli.run_files import Progress, Seal, read

MODEL, TRAINING, STATE = FILES = ("model.safetensors", "training.safetensors", "state.json")
"""What a complete checkpoint holds besides its seal."""
_SEAL = "done.json"
FORMAT: Literal["semivl-1"] = "semivl-1"


_MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter, beside the number of its steps."""


class Header(Document):
    """What `model.safetensors` says of itself, as JSON under `semivl` in its metadata."""

    format: Literal["semivl-1"]
    spec: ModelSpec
    config: str
    definition: str


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What `model.safetensors` holds."""

    model: SemiVL
    spec: ModelSpec
    config: str
    """`run.toml` of the training."""
    definition: str
    """`definition.toml` of the training."""


def save_checkpoint(
    run: Path,
    step: int,
    model: SemiVL,
    spec: ModelSpec,
    optimizer: torch.optim.Optimizer,
    config: str,
    definition: str,
    state: Mapping[str, Any],
) -> None:
    """Write `checkpoints/<step>`, which is there once it is complete; raises `RunError` where it cannot be written."""
    target = checkpoint_folder(run, step)
    if target.exists():
        return
    with writing(target), replacing_folder(target, durable=True) as temporary:
        header = {"format": FORMAT, "step": step, "spec": asdict(spec), "config": config, "definition": definition}
        write_safetensors(temporary / MODEL, model.state_dict(), {"semivl": json.dumps(header)})
        moments = {
            f"{key}/{name}": value
            for name, parameter in _trained(model, optimizer)
            for key, value in optimizer.state[parameter].items()
        }
        write_safetensors(temporary / TRAINING, moments)
        (temporary / STATE).write_text(json.dumps(dict(state)), encoding="utf-8")
        # The seal is the last file.
        hashes = {name: hash_file(temporary / name) for name in FILES}
        (temporary / _SEAL).write_text(json.dumps({"step": step, "sha256": hashes}), encoding="utf-8")


def checkpoint_steps(run: Path) -> list[int]:
    """Steps of the complete checkpoints of a run, oldest first; their files may have been damaged since."""
    return sorted(int(path.name) for path in (run / CHECKPOINTS).glob("[0-9]*") if path.name.isdecimal())


def prune_checkpoints(run: Path, best: int | None) -> None:
    """Keep the two newest checkpoints and the best; what was left half-written or set aside goes too."""
    folder = run / CHECKPOINTS
    with writing(folder):
        sweep(folder)
        for step in checkpoint_steps(run)[:-2]:
            if step != best:  # it loses its name first, so that it is there or gone
                shutil.rmtree((folder / str(step)).replace(folder / f".{step}.part"))


def damage(folder: Path, files: Sequence[str] = FILES) -> str | None:
    """Say what is wrong with a checkpoint; `None`: each of `files` has the bytes that were written."""
    if not (folder / _SEAL).is_file():
        return f"{_SEAL} cannot be read: no such file"
    try:
        hashes = read_json(folder / _SEAL, Seal).sha256
        for name in files:
            if not (folder / name).is_file():
                return f"{name} is missing"
            if name in hashes and hash_file(folder / name) != hashes[name]:
                return f"{name} does not hold the bytes that were written"
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read: {error.strerror}"
    except InputError:
        return f"{_SEAL} is damaged"
    return None


def first_sound(run: Path, steps: Iterable[int], files: Sequence[str] = FILES) -> tuple[int, dict[int, str]]:
    """Return the first of `steps` whose checkpoint is undamaged, and what is wrong with those before it.

    Raises:
        InputError: all of them are damaged.
    """
    broken: dict[int, str] = {}
    for step in steps:
        wrong = damage(checkpoint_folder(run, step), files)
        if wrong is None:
            return step, broken
        broken[step] = wrong
    what = ", ".join(f"{step} ({wrong})" for step, wrong in broken.items())
    raise InputError(
        f"no checkpoint of {run} can be used: {what}; put back a copy of one, or delete {run / CHECKPOINTS} to train "
        "again from step 0"
    )


def set_aside(run: Path, step: int) -> None:
    """Give a damaged checkpoint another name, under which it stays until training has written the next one."""
    folder = checkpoint_folder(run, step)
    aside = folder.with_name(f".{step}.damaged")
    with writing(folder):
        shutil.rmtree(aside, ignore_errors=True)
        folder.replace(aside)


def read_spec(run: Path, step: int) -> ModelSpec:
    """Return the shape of the model of a checkpoint; raises `InputError` where its file is damaged."""
    path = checkpoint_folder(run, step) / MODEL
    return parse_json(read_header(path).metadata.get("semivl", "null"), Header, str(path)).spec


def load_checkpoint(run: Path, step: int) -> Stored:
    """Build the model of `checkpoints/<step>`; raises `InputError` where the files are damaged."""
    path = checkpoint_folder(run, step) / MODEL
    try:
        found = read_header(path)
        header = parse_json(found.metadata.get("semivl", "null"), Header, "its header")
        header.spec.check_weights(found.shapes)  # before memory is taken for what it claims
        tensors = read_safetensors(path).tensors
        _check_finite(tensors)
    except InputError as error:
        raise InputError(
            f"checkpoint {path} is damaged, or none of this version ({error}): delete the folder {path.parent} to take "
            "the checkpoint before it"
        ) from error
    model = header.spec.build(tensors["text"])
    model.load_state_dict(tensors)
    return Stored(model=model, spec=header.spec, config=header.config, definition=header.definition)


def load_training(run: Path, step: int, model: SemiVL, optimizer: torch.optim.Optimizer) -> Progress:
    """Put weights and optimizer back as they were after `step` steps; returns the rest of the state."""
    folder = checkpoint_folder(run, step)
    try:
        tensors, moments = (read_safetensors(folder / name).tensors for name in (MODEL, TRAINING))
        _check_fit(model.state_dict(), tensors)
        state = read_json(folder / STATE, Progress)
        parameters = _trained(model, optimizer) if moments else []  # none before the first step
        like = {f"{key}/{name}": parameter for name, parameter in parameters for key in _MOMENTS}
        _check_fit({**like, **{f"step/{name}": torch.zeros(()) for name, _ in parameters}}, moments)
        _check_finite({**tensors, **moments})
    except InputError as error:
        raise InputError(
            f"checkpoint {folder} is damaged ({error}): delete that folder to resume from the checkpoint before it"
        ) from error
    model.load_state_dict(tensors)
    for name, parameter in parameters:
        optimizer.state[parameter] = {
            "step": moments[f"step/{name}"].to(parameter.device),
            # Fused AdamW walks through memory: the moments must lie in the order of the parameter.
            **{key: torch.empty_like(parameter).copy_(moments[f"{key}/{name}"]) for key in _MOMENTS},
        }
    try:
        scores = read(folder / SCORES, Progress)
    except InputError:  # damaged: the evaluation is made again
        return state
    newer = {} if scores is None else {key: getattr(scores, key) for key in scores.model_fields_set}
    return state.model_copy(update=newer)


def _check_fit(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Refuse tensors whose names and shapes are not those of the training; raises `InputError`."""
    wrong = own.keys() ^ state.keys() or {name for name in own if own[name].shape != state[name].shape}
    if wrong:
        raise InputError(f"{len(wrong)} tensors are absent, unknown or misshapen, such as {min(wrong)}")


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that hold anything but finite numbers, as training has written them; raises `InputError`."""
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.int64) or not bool(tensor.isfinite().all()):
            raise InputError(f"the tensor {name} holds something else than finite numbers")


def _trained(model: SemiVL, optimizer: torch.optim.Optimizer) -> list[tuple[str, torch.nn.Parameter]]:
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return [(name, parameter) for name, parameter in model.named_parameters() if id(parameter) in held]
