"""Keeps what a step saw whose loss or weights are no numbers any more: its batch, its values, the model as it is."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from semivl_cli.config import RunConfig
from semivl_cli.data.load.batches import Batch, Batches, labeled_records, unlabeled_records
from semivl_cli.engine.build import Material, Trainee
from semivl_cli.engine.train.inputs import step_inputs
from semivl_cli.files import writing
from semivl_cli.paint import save_image, save_mask


@dataclass(frozen=True, kw_only=True)
class Broken:
    """The first step whose values are not finite."""

    step: int
    """Counted from 0, as the draws are."""
    what: str
    """`loss` with its terms, or the weights."""


def find_broken(values: Sequence[Mapping[str, float]], done: int, model: torch.nn.Module | None) -> Broken | None:
    """Look at the values of the last steps, and at the weights if they are given: the first thing that is not finite.

    Args:
        values: of the steps `done - len(values)` to `done - 1`, numbers already.
        done: steps that were taken.
        model: whose weights are about to be kept; `None`: only the losses are looked at.
    """
    for place, step in enumerate(values):
        if not math.isfinite(step["loss"]):
            terms = ", ".join(name for name, value in step.items() if name != "loss" and not math.isfinite(value))
            return Broken(
                step=done - len(values) + place, what=f"loss is {step['loss']}{f' ({terms})' if terms else ''}"
            )
    if model is not None:
        floating = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
        if not bool(torch.stack([tensor.isfinite().all() for tensor in floating]).all()):
            return Broken(step=done - 1, what="weights hold values that are not finite")
    return None


def keep_evidence(
    run: Path,
    broken: Broken,
    config: RunConfig,
    material: Material,
    trainee: Trainee,
    values: Sequence[Mapping[str, float]],
    facts: Mapping[str, Any],
) -> Path:
    """Write `not-finite/`: the batch of the step as the model saw it, pictures of it, the values, the model.

    The batch is drawn again: it follows from seed and step alone.

    Raises:
        RunError: the disk is full.
    """
    folder, part = run / "not-finite", run / ".not-finite.part"
    index = material.index
    batch = Batches(index, material.dataset, material.definition.names, config)[broken.step]
    state = trainee.model.state_dict()
    told = {
        "step": broken.step,
        "found": broken.what,
        "labeled": [record.id for record in labeled_records(index, config, broken.step)],
        "unlabeled": [record.id for record in unlabeled_records(index, config, broken.step)],
        **facts,
        "steps": [{name: str(value) for name, value in step.items()} for step in values],  # JSON knows no NaN
        "weights that are not finite": [name for name, tensor in state.items() if not bool(tensor.isfinite().all())],
    }
    with writing(folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        (part / "values.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        tensors = _seen(batch, config, trainee)
        save_file(tensors, part / "batch.safetensors")
        for name in ("labeled", "weak", "strong1", "strong2"):
            for place, image in enumerate(tensors.get(name, ())):
                save_image(part / f"{name}-{place}.png", image.permute(1, 2, 0).contiguous().numpy())
        for place, label in enumerate(tensors["label"]):
            save_mask(part / f"label-{place}.png", label.numpy(), material.definition.colors)
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, part / "model.safetensors"
        )
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
    return folder


def _seen(batch: Batch, config: RunConfig, trainee: Trainee) -> dict[str, Tensor]:
    """Return what the step saw, on the CPU."""
    spec = trainee.spec
    x, u = step_inputs(
        batch,
        torch.device("cpu"),
        seed=config.seed,
        channels=(*spec.decoder.skip_channels, spec.encoder.embed_dim),
        dropout=config.consistency.feature_dropout,
    )
    seen = {"labeled": x.image, "label": x.label}
    if u is not None:
        seen |= {"weak": u.weak, "strong1": u.strong1, "strong2": u.strong2}
        seen |= {"valid": u.valid, "box1": u.box1, "box2": u.box2}
    return {name: tensor.contiguous() for name, tensor in seen.items()}


def advice(config: RunConfig, values: Sequence[Mapping[str, float]], *, bf16: bool) -> str:
    """Say what mostly causes it and what to try."""
    finite = [step["loss"] for step in values if math.isfinite(step["loss"])]
    lr = f"a smaller optimizer.lr (now {config.optimizer.lr})"
    if len(finite) > 1 and finite[-1] > 10 * finite[0]:
        return f"The loss had grown from {finite[0]:.3g} to {finite[-1]:.3g}: try {lr}"
    if bf16:
        return f"bf16 may be too coarse: try training.precision=fp32, then {lr}"
    return f"Mostly the learning rate is too high: try {lr}"
