"""Stops where loss or weights are no numbers any more, and keeps what that step saw: batch, values, the model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

from semivl_cli.config import RunConfig
from semivl_cli.data.load.batches import Batches, labeled_records, unlabeled_records
from semivl_cli.data.read.cutmix import box_mask
from semivl_cli.engine.device import autocast
from semivl_cli.engine.rundir.checkpoint import MODEL, checkpoint_steps
from semivl_cli.engine.rundir.layout import NOT_FINITE
from semivl_cli.engine.rundir.metrics_log import Metrics
from semivl_cli.engine.train.inputs import views_of
from semivl_cli.engine.train.trainee import Training
from semivl_cli.errors import RunError
from semivl_cli.files import replacing_folder, writing
from semivl_cli.model.tensor_files import write_safetensors
from semivl_cli.palette import save_image, save_mask


def find_broken(values: Sequence[Mapping[str, float]], done: int, model: nn.Module | None) -> tuple[int, str] | None:
    """Return the first step, counted from 0, that left something not finite, and what: its loss, or the weights.

    `values`: those of the last steps, of which `done` were taken; `model`: whose weights are about to be kept, if any.
    """
    for number, step in enumerate(values, done - len(values)):
        if not math.isfinite(step["loss"]):
            terms = ", ".join(name for name, value in step.items() if name != "loss" and not math.isfinite(value))
            return number, f"loss is {step['loss']}{f' ({terms})' if terms else ''}"
    if model is not None:
        floating = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
        if not bool(torch.stack([tensor.isfinite().all() for tensor in floating]).all()):
            return done - 1, "weights hold values that are not finite"
    return None


def refuse_nonfinite(
    training: Training,
    values: Sequence[Mapping[str, float]],
    done: int,
    metrics: Metrics | None,
    model: nn.Module | None = None,
) -> None:
    """Stop before values that are no numbers are averaged away or, with `model`, kept; keep what they came from.

    Arguments as for `find_broken`, the values of all processes; the main process writes to `metrics` what it found.

    Raises:
        RunError: something is not finite.
    """
    broken = find_broken(values, done, model)
    if broken is None:
        return
    step, found = broken
    said = f"step {step}: the {found}"
    if metrics is not None:
        try:
            said += f"; {keep_evidence(training, step, found, values)} holds its batch, values and weights"
            metrics.alarm(done, said, "train")
        except RunError as error:
            said += f"; {error}"
    said = training.process_group.broadcast(said)  # whichever process is the first to end says it
    last = max(checkpoint_steps(training.run), default=0)
    bf16 = not isinstance(autocast(training.config, training.device), nullcontext)
    raise RunError(
        f"{said}. {advice(training.config, values, bf16=bf16)}. The run stands at step {last}; --resume repeats the "
        "same steps, so change the settings in a new run, or mend what the pictures show"
    )


def keep_evidence(training: Training, step: int, found: str, values: Sequence[Mapping[str, float]]) -> Path:
    """Write `not-finite/`: the batch of the step as the model saw it, pictures of it, the values, the model.

    The batch is drawn again: it follows from seed and step alone.

    Raises:
        RunError: the disk is full.
    """
    config, schedule, material = training.config, training.schedule, training.material
    index, folder = material.index, training.run / NOT_FINITE
    batch = Batches(index, material.dataset, material.definition.names, config)[step]
    state = training.trainee.model.state_dict()
    told = {
        "step": step,
        "found": found,
        "labeled": [record.id for record in labeled_records(index, config, step)],
        "unlabeled": [record.id for record in unlabeled_records(index, config, step)],
        "seed": config.seed,
        "lr": config.optimizer.lr * schedule.rate_factor(step),
        "lambda_DC": schedule.lambda_DC(step),
        "steps": [{name: str(value) for name, value in each.items()} for each in values],  # JSON knows no NaN
        "weights that are not finite": [name for name, tensor in state.items() if not bool(tensor.isfinite().all())],
    }
    with writing(folder), replacing_folder(folder) as part:
        (part / "values.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        # What the step saw, its strong views before CutMix.
        tensors = {"labeled": batch.x_image, "label": batch.x_label}
        own = views_of(batch.u_image, batch.u_ignore, batch.colors)
        if own is not None and batch.boxes is not None:
            tensors |= own._asdict()
            tensors |= {f"box{n}": box_mask(box, *own.valid.shape[1:]) for n, box in enumerate(batch.boxes, 1)}
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        write_safetensors(part / "batch.safetensors", tensors)
        for name in ("labeled", "weak", "strong1", "strong2"):
            for number, image in enumerate(tensors.get(name, ())):
                save_image(part / f"{name}-{number}.png", image.permute(1, 2, 0).contiguous().numpy())
        for number, label in enumerate(tensors["label"]):
            save_mask(part / f"label-{number}.png", label.numpy(), material.definition.colors)
        write_safetensors(part / MODEL, state)
    return folder


def advice(config: RunConfig, values: Sequence[Mapping[str, float]], *, bf16: bool) -> str:
    """Say what mostly causes it and what to try."""
    finite = [step["loss"] for step in values if math.isfinite(step["loss"])]
    lr = f"a smaller optimizer.lr (now {config.optimizer.lr})"
    if len(finite) > 1 and finite[-1] > 10 * finite[0]:
        return f"The loss had grown from {finite[0]:.3g} to {finite[-1]:.3g}: try {lr}"
    if bf16:
        return f"bf16 may be too coarse: try training.precision=fp32, then {lr}"
    return f"Mostly the learning rate is too high: try {lr}"
