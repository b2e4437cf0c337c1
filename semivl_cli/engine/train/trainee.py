"""The model of a run with everything that teaches it: guidance, optimizer, and what a training is given besides."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import torch

from semivl_cli.config import RunConfig
from semivl_cli.data.load.batches import Batch, Workers, drawn_records, train_batches
from semivl_cli.engine.build import (
    Material,
    build_guide,
    model_spec,
    open_clip_of,
    place,
    statistics_of,
    view_settings,
)
from semivl_cli.engine.distributed.group import ProcessGroup
from semivl_cli.engine.rundir.checkpoint import ModelSpec
from semivl_cli.engine.text_vectors import embed_classes
from semivl_cli.engine.train.optim import build_optimizer
from semivl_cli.engine.train.schedule import Schedule
from semivl_cli.model.clip import encoder_weights
from semivl_cli.model.finetune import set_trainable
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.semivl import SemiVL
from semivl_cli.reporter import Reporter


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

    @property
    def positions(self) -> slice:
        """Positions of the global batch that this process computes."""
        return self.process_group.rank_slice(self.config.training.batch, self.config.micro_batch_unit)

    def batches(self, steps: range, positions: slice, workers: Workers) -> Generator[Batch, None, None]:
        """Yield the images at some positions of the global batches of some steps, as `train_batches` does."""
        config, index = self.config, self.material.index
        return train_batches(
            index,
            self.material.dataset,
            self.material.definition.names,
            view_settings(config),
            batch=config.training.batch,
            seed=config.seed,
            start_step=steps.start,
            stop_step=steps.stop,
            workers=workers,
            pin=self.device.type == "cuda",
            positions=positions,
            sharing=self.process_group.sharing,
            need_unlabeled=config.uses_unlabeled,
            damaged=config.data.damaged,
            say=self.reporter.note,
        )

    def drawn_ids(self, step: int) -> tuple[list[str], list[str]]:
        """Name the labelled and the unlabelled images of a step."""
        labeled, unlabeled = drawn_records(
            self.material.index,
            batch=self.config.training.batch,
            seed=self.config.seed,
            step=step,
            need_unlabeled=self.config.uses_unlabeled,
        )
        return [record.id for record in labeled], [record.id for record in unlabeled]


def build_trainee(config: RunConfig, material: Material, device: torch.device, reporter: Reporter) -> Trainee:
    """Build model, guidance and optimizer on `device`; every random weight follows from the seed."""
    clip = open_clip_of(config, material.dataset, reporter)
    published = config.fidelity == "published"
    spec = model_spec(config, clip.spec, statistics_of(config, clip))
    text = embed_classes(clip.text, material.definition, config.decoder.text, published)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = spec.build(text)
    if config.model.initial == "clip":
        model.encoder.load_state_dict(encoder_weights(clip, spec.encoder))
    set_trainable(model.encoder, config.finetune.encoder, config.finetune.attention_norm)
    place(model, device)
    guide = build_guide(config, clip, material.definition).to(device) if config.uses_guidance else None
    return Trainee(
        model=model,
        spec=spec,
        guide=guide,
        optimizer=build_optimizer(model, config.optimizer),
        clip_name=clip.name,
        clip_sha256=clip.sha256,
    )
