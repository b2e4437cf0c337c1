"""AdamW with the published parameter groups (Sec. 4.1)."""

from __future__ import annotations

import torch

from semivl_cli.config import OptimizerSettings
from semivl_cli.model.semivl import SemiVL


def build_optimizer(model: SemiVL, settings: OptimizerSettings) -> torch.optim.AdamW:
    """Group the trainable parameters by encoder, detail encoder and decoder; decay covers norms and biases too."""
    parts = [
        (model.encoder, settings.encoder_multiplier),
        (model.detail, settings.detail_multiplier),
        (model.decoder, settings.decoder_multiplier),
    ]
    groups = []
    for module, multiplier in parts:
        parameters = [p for p in module.parameters() if p.requires_grad] if module is not None else []
        if parameters:
            lr = settings.lr * multiplier
            groups.append({"params": parameters, "lr": lr, "initial_lr": lr})
    # Fused: besides being fast, it rounds as the published run did, where an update nearly cancels its parameter too.
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, weight_decay=settings.weight_decay, fused=fused)


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give every group its initial rate times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
