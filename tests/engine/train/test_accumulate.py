"""Micro-batches add up to the whole batch, whatever is counted together."""

import pytest
import torch

from semivl_cli.engine.train.accumulate import part_of

from .tiny import batch, build, settings, train_step


def gradient(config, b: int, micro_batch: int, partner: bool):
    model, guide = build()
    x, u = batch(b, partner)
    seen = train_step(model, guide, x, u, config, 0.3, micro_batch)
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return grads, {name: float(value) for name, value in seen.items()}


def same(whole, parts) -> None:
    assert whole.keys() == parts.keys() and whole
    for name in whole:
        assert float((whole[name] - parts[name]).norm()) <= 1e-6 * float(whole[name].norm()) + 1e-12, name


@pytest.mark.parametrize("partner", [True, False], ids=["same_image", "pair"])
@pytest.mark.parametrize(
    ("mode", "group", "micro_batch"),
    [
        ("pixelwise", 0, 2),
        ("pixelratio", 0, 2),
        ("pixelwise", 2, 2),
        ("pixelratio", 2, 2),
        ("pixelavg", 2, 2),
        ("pixelavg", 1, 2),
    ],
)
def test_micro_batches_add_up_to_the_whole(mode, group, micro_batch, partner):
    for reduction in ("mean_all", "mean_valid", "mean"):
        config = settings(consistency={"mode": mode}, loss={"group": group}, guidance={"reduction": reduction})
        whole, seen = gradient(config, 4, 4, partner)
        parts, seen_in_parts = gradient(config, 4, micro_batch, partner)
        same(whole, parts)
        for name in ("loss", "L_s", "L_u", "guidance", "guidance_pixels"):
            assert seen[name] == pytest.approx(seen_in_parts[name], rel=1e-6), name


def test_single_images_add_up_too_where_no_image_needs_another():
    whole, _ = gradient(settings(3), 3, 3, partner=True)
    parts, _ = gradient(settings(3), 3, 1, partner=True)
    same(whole, parts)


def test_groups_are_averaged():
    """A step over two groups is the mean of two steps over one group each."""
    config = settings(consistency={"mode": "pixelavg"}, loss={"group": 2})
    both, _ = gradient(config, 4, 4, partner=False)
    model, guide = build()
    x, u = batch(4, partner=False)
    for part in (slice(0, 2), slice(2, 4)):
        train_step(model, guide, part_of(x, part), part_of(u, part), config, 0.3, 2)
    for name, parameter in model.named_parameters():
        assert torch.allclose(both[name], parameter.grad / 2, rtol=1e-6, atol=1e-12), name
