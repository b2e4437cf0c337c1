"""One step: its terms, what weighs them, and what is left where there is nothing unlabelled or no guidance."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from semivl_cli.class_ids import IGNORE
from semivl_cli.engine.train import step
from semivl_cli.engine.train.guidance_labels import make_targets
from semivl_cli.engine.train.step import step_losses

from .tiny import batch, build, settings, train_step


def losses_of(model, guide, x, u, config):
    targets = make_targets(guide, x, u, config, 2)
    return {name: float(value.detach()) for name, value in step_losses(model, x, u, targets, config, 0.3).items()}


@pytest.fixture
def terms(monkeypatch):
    """The terms as the step computes them: `{"consistency_term": [fp, s1, s2], "label_term": [x, fp, s1, s2]}`."""
    found = {"consistency_term": [], "label_term": []}

    def watch(name):
        term = getattr(step, name)

        def watched(*arguments):
            found[name].append(term(*arguments))
            return found[name][-1]

        monkeypatch.setattr(step, name, watched)

    for name in found:
        watch(name)
    return found


def test_the_total_is_the_sum_of_its_terms(terms):
    model, guide = build()
    x, u = batch(2, partner=True)
    losses = losses_of(model, guide, x, u, settings())
    fp, s1, s2 = (float(term.detach()) for term in terms["consistency_term"])
    L_s, dc_fp, dc_s1, dc_s2 = (float(term.detach()) for term in terms["label_term"])
    assert all(term > 0 for term in (fp, s1, s2, dc_fp, dc_s1, dc_s2, L_s))
    consistency, guidance = fp / 2 + s1 / 4 + s2 / 4, dc_fp / 2 + dc_s1 / 4 + dc_s2 / 4
    assert losses["L_s"] == L_s
    assert losses["L_u"] == pytest.approx(consistency) and losses["guidance"] == pytest.approx(guidance)
    assert losses["loss"] == pytest.approx((losses["L_s"] + consistency) / 2 + 0.3 * guidance)
    config = settings(guidance={"inside_half": True}, consistency={"weight": 0.5})
    inside = losses_of(model, guide, x, u, config)
    assert inside["loss"] == pytest.approx((losses["L_s"] + consistency / 2) / 2 + 0.3 * guidance / 2)


def test_a_pair_exchanges_what_lies_in_the_boxes():
    model, guide = build()
    x, implied = batch(2, partner=False)
    spelled = replace(implied, partner=implied.weak.flip(0))
    labels = [make_targets(guide, x, u, settings(), 2).p_DC for u in (implied, spelled)]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*labels, strict=True))
    # Without normalisation over batches the model at rest says the same, so only who computes it differs.
    one, two = (losses_of(model.train(), guide, x, u, settings())["loss"] for u in (implied, spelled))
    assert one == pytest.approx(two, rel=1e-9)


def test_padding_has_neither_guidance_nor_consistency():
    model, guide = build()
    x, u = batch(2, partner=True)
    u = replace(u, valid=tuple(map(torch.zeros_like, u.valid)))
    targets = make_targets(guide, x, u, settings(), 2)
    assert all(bool((label == IGNORE).all()) for label in targets.p_DC)
    losses = losses_of(model, guide, x, u, settings())
    assert losses["L_u"] == losses["guidance"] == losses["pseudo_labels"] == 0


def test_without_unlabeled_images_half_the_supervised_term_is_left():
    model, guide = build()
    x, _ = batch(2, partner=True)
    seen = train_step(model, guide, x, None, settings(), 0.3, 2)
    assert float(seen["loss"]) == pytest.approx(float(seen["L_s"]) / 2)
    assert seen["L_u"] == seen["guidance"] == 0 and "guidance_pixels" not in seen
    assert any(parameter.grad is not None for parameter in model.parameters())


def test_without_guidance_there_is_no_such_term(terms):
    model, _ = build()
    x, u = batch(2, partner=True)
    losses = losses_of(model, None, x, u, settings())
    assert len(terms["consistency_term"]) == 3 and len(terms["label_term"]) == 1
    assert losses["loss"] == pytest.approx((losses["L_s"] + losses["L_u"]) / 2)
    assert "guidance_pixels" not in train_step(model, None, x, u, settings(), 0.0, 2)


def test_the_partners_do_not_move_running_statistics():
    """Two forwards in training mode, over [labelled, weak] and over both strong views, and no more."""
    model, _ = build(detail=True)
    x, u = batch(2, partner=True, channels=(16, 8, 6))
    train_step(model, None, x, u, settings(), 0.0, 2)
    assert model.training
    counted = {int(b) for name, b in model.named_buffers() if name.endswith("num_batches_tracked")}
    assert counted == {2}


class NoFloat64(TorchDispatchMode):
    """Refuses what Apple's GPUs refuse."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return found


def test_a_step_needs_no_float64_where_the_device_has_none(monkeypatch):
    model, guide = build()
    model, guide = model.float(), guide.float()
    for room in ("losses", "step"):
        monkeypatch.setattr(f"semivl_cli.engine.train.{room}.widest_float", lambda device: torch.float32)
    with NoFloat64():
        seen = train_step(model, guide, *batch(4, partner=True), settings(), 0.3, 2)
    assert seen["loss"] > 0
