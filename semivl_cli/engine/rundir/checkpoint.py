"""A run's state on disk: safetensors and JSON, complete or not there at all; and whether it is still undamaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from semivl_cli.engine.rundir.layout import CHECKPOINTS, SCORES, checkpoint_folder, read_json
from semivl_cli.errors import InputError
from semivl_cli.files import hash_file, replacing_folder, sweep, writing
from semivl_cli.model.build import ModelSpec
from semivl_cli.model.semivl import SemiVL

MODEL, TRAINING, STATE = FILES = ("model.safetensors", "training.safetensors", "state.json")
"""What a complete checkpoint holds besides its seal."""
_SEAL = "done.json"
FORMAT = "semivl-1"


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
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(tensors, temporary / MODEL, metadata={"semivl": json.dumps(header)})
        moments = {
            f"{key}/{name}": value.detach().cpu().contiguous()
            for name, parameter in _trained(model, optimizer)
            for key, value in optimizer.state[parameter].items()
        }
        save_file(moments, temporary / TRAINING)
        (temporary / STATE).write_text(json.dumps(dict(state)), encoding="utf-8")
        # The seal is the last file.
        hashes = {name: hash_file(temporary / name) for name in FILES}
        (temporary / _SEAL).write_text(json.dumps({"step": step, "sha256": hashes}), encoding="utf-8")


def checkpoint_steps(run: Path) -> list[int]:
    """Steps of the complete checkpoints of a run, oldest first; their files may have been damaged since."""
    return sorted(int(path.name) for path in (run / CHECKPOINTS).glob("[0-9]*") if path.name.isdigit())


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
    try:
        sealed = json.loads((folder / _SEAL).read_text(encoding="utf-8"))
        hashes = sealed.get("sha256", {})  # none in a checkpoint of an earlier version
        for name in files:
            if not (folder / name).is_file():
                return f"{name} is missing"
            if name in hashes and hash_file(folder / name) != hashes[name]:
                return f"{name} does not hold the bytes that were written"
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read: {error.strerror}"
    except (ValueError, AttributeError):
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


def load_checkpoint(run: Path, step: int) -> Stored:
    """Build the model of `checkpoints/<step>`; raises `InputError` where the files are damaged."""
    path = checkpoint_folder(run, step) / MODEL
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["semivl"])
        tensors = load_file(path)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            f"checkpoint {path} is damaged ({error}): delete the folder {path.parent} to take the checkpoint before it"
        ) from error
    if header.get("format") != FORMAT:
        raise InputError(f"checkpoint {path} has format {header.get('format')!r}: this version reads {FORMAT}")
    spec = ModelSpec(**header["spec"])
    model = spec.build(tensors["text"])
    model.load_state_dict(tensors)
    return Stored(model=model, spec=spec, config=header["config"], definition=header["definition"])


def load_training(run: Path, step: int, model: SemiVL, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put weights and optimizer back as they were after `step` steps; returns the rest of the state."""
    folder = checkpoint_folder(run, step)
    try:
        model.load_state_dict(load_file(folder / MODEL))
        moments = load_file(folder / TRAINING)
        state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise InputError(
            f"checkpoint {folder} is damaged ({error}): delete that folder to resume from the checkpoint before it"
        ) from error
    for name, parameter in _trained(model, optimizer) if moments else ():  # none before the first step
        optimizer.state[parameter] = {
            "step": moments[f"step/{name}"].to(parameter.device),
            # Fused AdamW walks through memory: the moments must lie in the order of the parameter.
            **{key: torch.empty_like(parameter).copy_(moments[f"{key}/{name}"]) for key in ("exp_avg", "exp_avg_sq")},
        }
    try:
        return {**state, **read_json(folder / SCORES)}
    except InputError:  # damaged: the evaluation is made again
        return state


def _trained(model: SemiVL, optimizer: torch.optim.Optimizer) -> list[tuple[str, torch.nn.Parameter]]:
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return [(name, parameter) for name, parameter in model.named_parameters() if id(parameter) in held]
