"""The model of a run with everything that teaches it: guidance, optimizer, and what a training is given besides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from semivl_cli.config import RunConfig
from semivl_cli.data.choose.index import LabelCounts
from semivl_cli.engine.assemble import Material, build_guide, clip_of, statistics_of
from semivl_cli.engine.device import to_device
from semivl_cli.engine.distributed.group import ProcessGroup
from semivl_cli.engine.text_vectors import embed_classes
from semivl_cli.engine.train.optim import build_optimizer
from semivl_cli.engine.train.schedule import Schedule
from semivl_cli.model.build import ModelSpec, model_spec
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
    shorter: Schedule | None = None
    """What a run followed that now becomes longer."""
    counts: LabelCounts | None = None
    """What the masks hold, as the main process read them."""

    @property
    def positions(self) -> slice:
        """Positions of the global batch that this process computes."""
        return self.process_group.rank_slice(self.config.training.batch, self.config.micro_batch_unit)


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
