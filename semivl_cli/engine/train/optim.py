"""AdamW with the published parameter groups, and the polynomial schedule (Sec. 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from semivl_cli.model.semivl import SemiVL


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Learning rates and decay; see `semivl_cli.config`."""

    lr: float
    encoder_multiplier: float
    decoder_multiplier: float
    detail_multiplier: float
    weight_decay: float


def build_optimizer(model: SemiVL, rates: Rates) -> torch.optim.AdamW:
    """Group the trainable parameters by encoder, detail encoder and decoder; decay covers norms and biases too."""
    parts = [
        (model.encoder, rates.encoder_multiplier),
        (model.detail, rates.detail_multiplier),
        (model.decoder, rates.decoder_multiplier),
    ]
    groups = []
    for module, multiplier in parts:
        parameters = [p for p in module.parameters() if p.requires_grad] if module is not None else []
        if parameters:
            groups.append({"params": parameters, "lr": rates.lr * multiplier, "initial_lr": rates.lr * multiplier})
    # Fused: besides being fast, it rounds as the published run did, where an update nearly cancels its parameter too.
    return torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, weight_decay=rates.weight_decay, fused=True)


def rate_factor(step: int, steps: int, power: float) -> float:
    """Factor of the initial rates at `step` of `steps`: (1 - t/T)^power, t the step done before: 0 and 1 agree."""
    done = max(step - 1, 0)
    return float((1 - done / steps) ** power)


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give every group its initial rate times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
