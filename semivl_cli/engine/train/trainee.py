"""The model of a run with everything that teaches it: guidance, optimizer, and what a training is given besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from semivl_cli.config import RunConfig
from semivl_cli.data.choose.index import LabelCounts
from semivl_cli.documents import read_json
from semivl_cli.engine.assemble import Material, build_guide, clip_of, statistics_of
from semivl_cli.engine.device import to_device
from semivl_cli.engine.distributed.group import ProcessGroup
from semivl_cli.engine.infer.predictor import load
from semivl_cli.engine.rundir.checkpoint import STATE, read_spec
from semivl_cli.engine.rundir.layout import checkpoint_folder
from semivl_cli.engine.text_vectors import embed_classes
from semivl_cli.engine.train.optim import build_optimizer
from semivl_cli.engine.train.schedule import Schedule
from semivl_cli.errors import InputError, listed
from semivl_cli.model.build import ModelSpec, model_spec
from semivl_cli.model.clip import encoder_weights
from semivl_cli.model.encoders.dense_vit import resize_positions
from semivl_cli.model.finetune import set_trainable
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.semivl import SemiVL
from semivl_cli.reporter import Reporter
from semivl_cli.run_files import Progress


@dataclass(frozen=True, kw_only=True)
class Trainee:
    """The model of a run with everything that teaches it."""

    model: SemiVL
    spec: ModelSpec
    guide: DenseClip | None
    optimizer: torch.optim.Optimizer
    clip_name: str
    clip_sha256: str

    @property
    def channels(self) -> tuple[int, ...]:
        """Widths of the feature maps that P perturbs: skips in their order, then the dense vectors."""
        return (*self.spec.decoder.skip_channels, self.spec.encoder.embed_dim)

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a training is given before its first step; nothing of it is replaced until the last."""

    config: RunConfig
    run: Path
    material: Material
    trainee: Trainee
    device: torch.device
    reporter: Reporter
    process_group: ProcessGroup
    schedule: Schedule
    shorter: Schedule | None = None
    """What a run followed that now becomes longer."""
    counts: LabelCounts | None = None
    """What the masks hold, as the main process read them."""

    @property
    def positions(self) -> slice:
        """Positions of the global batch that this process computes."""
        return self.process_group.rank_slice(self.config.training.batch, self.config.micro_batch_unit)


def begin_with(run: str, trainee: Trainee, names: Sequence[str], reporter: Reporter) -> None:
    """Give a model the weights of another run's; what stands for one class goes to the class of the same name.

    Raises:
        InputError: there is no such run, or its model or the CLIP that it began with are others.
    """
    before, model = load(run, "cpu", reporter=reporter), trainee.model
    spec = read_spec(before.run, before.step)
    if differ := spec.differences(trainee.spec):
        raise InputError(
            f"the model of {run} is another one ({', '.join(differ[:3])}): leave out what says so, or --init"
        )
    clip = read_json(checkpoint_folder(before.run, before.step) / STATE, Progress).clip_sha256
    if model.decoder.reads_text and clip not in (None, trainee.clip_sha256):
        raise InputError(
            f"the model of {run} reads the vectors of another CLIP (sha256 {clip[:12]}..., now "
            f"{trainee.clip_sha256[:12]}...): let model.clip and model.weights name that one; random ones need its seed"
        )
    own, weights = model.state_dict(), before.model.state_dict()
    positions = weights["encoder.position_embedding"]
    weights["encoder.position_embedding"] = resize_positions(positions, spec.encoder.grid, trainee.spec.encoder.grid)
    weights["text"] = own["text"]
    rows = {name: before.definition.names.index(name) for name in names if name in before.definition.names}
    for name in (f"decoder.{name}" for name in model.decoder.class_rows):
        theirs, weights[name] = weights[name], own[name].clone()
        for class_id, row in enumerate(map(rows.get, names)):
            if row is not None:
                weights[name][class_id] = theirs[row]
    model.load_state_dict(weights)
    new = [name for name in names if name not in rows]
    how = "their words are read" if model.decoder.reads_text else "they begin fresh"
    unknown = f"; not known there: {listed(new, 10)} ({how})" if new else ""
    reporter.note(f"begins with the weights of {run}, step {before.step} ({before.selected}){unknown}")


def build_trainee(config: RunConfig, material: Material, device: torch.device, reporter: Reporter) -> Trainee:
    """Build model, guidance and optimizer on `device`; every random weight follows from the seed."""
    clip = clip_of(config, material.dataset, reporter)
    spec = model_spec(config, clip.spec, statistics_of(config, clip))
    text = embed_classes(clip.text, material.definition, config.decoder.text)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = spec.build(text)
    if config.model.initial == "clip":
        model.encoder.load_state_dict(encoder_weights(clip, spec.encoder))
    set_trainable(model.encoder, config.finetune)
    to_device(model, device)
    guide = build_guide(config, clip, material.definition).to(device) if config.uses_guidance else None
    return Trainee(
        model=model,
        spec=spec,
        guide=guide,
        optimizer=build_optimizer(model, config.optimizer),
        clip_name=clip.name,
        clip_sha256=clip.sha256,
    )
