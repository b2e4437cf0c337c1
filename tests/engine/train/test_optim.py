"""Parameter groups and their rates."""

import pytest
import torch
from torch import nn

from semivl_cli.config import OptimizerSettings
from semivl_cli.engine.train.optim import build_optimizer, set_rates

RATES = OptimizerSettings(
    lr=0.5, encoder_multiplier=0.01, decoder_multiplier=10.0, detail_multiplier=0.1, weight_decay=0.02
)


class Parts(nn.Module):
    def __init__(self, detail: bool) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        self.decoder = nn.Linear(2, 1)
        self.detail = nn.BatchNorm2d(3) if detail else None


@pytest.mark.parametrize("detail", [True, False])
def test_every_part_has_its_rate_and_all_decay(detail):
    model = Parts(detail)
    model.encoder[0].bias.requires_grad_(False)
    optimizer = build_optimizer(model, RATES)
    found = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    expected = {id(p): 0.005 for p in model.encoder.parameters() if p.requires_grad}
    expected |= {id(p): 5.0 for p in model.decoder.parameters()}
    expected |= {id(p): 0.05 for p in model.detail.parameters()} if detail else {}
    assert {key: group["lr"] for key, group in found.items()} == pytest.approx(expected)
    assert all(group["weight_decay"] == 0.02 for group in found.values())


def test_a_frozen_encoder_has_no_group():
    model = Parts(detail=False)
    model.encoder.requires_grad_(False)
    assert len(build_optimizer(model, RATES).param_groups) == 1


def test_rates_follow_the_initial_ones_however_often_they_are_set():
    optimizer = build_optimizer(Parts(detail=False), RATES)
    for factor in (0.5, 0.25, 0.1):
        set_rates(optimizer, factor)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.0005, 0.5])


def test_one_step_is_that_of_adamw():
    model = Parts(detail=False)
    before = model.decoder.weight.detach().clone()
    optimizer = build_optimizer(model, RATES)
    model.decoder.weight.grad = torch.tensor([[2.0, -3.0]])
    optimizer.step()
    expected = before * (1 - 5.0 * 0.02) - 5.0 * torch.tensor([[1.0, -1.0]])
    assert torch.allclose(model.decoder.weight.detach(), expected, rtol=1e-6)
