"""The terms of the loss against loops over images and pixels."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.class_ids import IGNORE
from semivl_cli.config import ConsistencySettings
from semivl_cli.engine.train.losses import consistency_term, image_weights, label_term


@st.composite
def batches(draw):
    """Log probabilities, labels, confidences, masks of a batch of whole groups; some images are wholly ignored."""
    size = draw(st.integers(1, 3))
    groups, n = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    h, w = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    b = size * groups
    log_p = torch.randn(b, n, h, w, generator=rng, dtype=torch.float64).log_softmax(dim=1)
    label = torch.randint(n, (b, h, w), generator=rng, dtype=torch.uint8)
    label[torch.rand(b, h, w, generator=rng) < 0.3] = IGNORE
    valid = torch.rand(b, h, w, generator=rng) < 0.7
    for image in draw(st.sets(st.integers(0, b - 1))):
        label[image], valid[image] = IGNORE, False
    confidence = torch.rand(b, h, w, generator=rng, dtype=torch.float64)
    group = draw(st.sampled_from([size, 0] if groups > 1 else [size]))
    return log_p, label, valid, confidence, group


def groups_of(b: int, group: int) -> list[range]:
    size = group or b
    return [range(start, start + size) for start in range(0, b, size)]


def entropy(log_p, label, i, y, x) -> float:
    class_id = int(label[i, y, x])
    return 0.0 if class_id == IGNORE else -float(log_p[i, class_id, y, x])


def pixels(label) -> list[tuple[int, int]]:
    return [(y, x) for y in range(label.shape[1]) for x in range(label.shape[2])]


@settings(max_examples=50, deadline=None)
@given(batches())
def test_supervised_and_guidance_terms_are_means_over_labelled_pixels_of_a_group(batch):
    log_p, label, _, _, group = batch
    expected = 0.0
    for images in (chunks := groups_of(len(label), group)):
        found = [(i, y, x) for i in images for y, x in pixels(label) if label[i, y, x] != IGNORE]
        if found:
            expected += sum(entropy(log_p, label, *place) for place in found) / len(found) / len(chunks)
    weight = image_weights((label != IGNORE).sum(dim=(1, 2)), group)
    assert math.isclose(float(label_term(log_p, label, weight)), expected, abs_tol=1e-12)


@settings(max_examples=100, deadline=None)
@given(batches(), st.sampled_from(["pixelwise", "pixelratio", "pixelavg"]), st.floats(0.05, 0.95))
def test_consistency_is_a_mean_over_valid_pixels_of_a_group(batch, mode, tau):
    log_p, label, valid, confidence, group = batch
    pseudo_label = label.clamp(max=log_p.shape[1] - 1)
    expected = 0.0
    for images in (chunks := groups_of(len(label), group)):
        counted = sum(bool(valid[i, y, x]) for i in images for y, x in pixels(label))
        if not counted:
            continue
        total = averages = summed = 0.0
        for i in images:
            own = [(y, x) for y, x in pixels(label) if valid[i, y, x]]
            sure = [(y, x) for y, x in own if confidence[i, y, x] >= tau]
            whole = sum(entropy(log_p, pseudo_label, i, y, x) for y, x in pixels(label))
            if mode == "pixelwise":
                total += sum(entropy(log_p, pseudo_label, i, y, x) for y, x in sure)
            elif mode == "pixelratio" and own:
                total += whole * len(sure) / len(own)
            summed += whole
            averages += sum(float(confidence[i, y, x]) for y, x in own) / max(len(own), 1)
        total = summed * averages if mode == "pixelavg" else total
        expected += total / counted / len(chunks)
    weight = image_weights(valid.sum(dim=(1, 2)), group)
    ours = consistency_term(
        log_p, pseudo_label, confidence, valid, weight, ConsistencySettings(mode=mode, tau=tau), group
    )
    assert math.isclose(float(ours), expected, rel_tol=1e-9, abs_tol=1e-12)


def test_a_confidence_of_tau_counts():
    log_p = torch.full((1, 2, 1, 2), 0.5, dtype=torch.float64).log()
    confidence = torch.tensor([[[0.5, 0.49]]], dtype=torch.float64)
    label, valid = torch.zeros(1, 1, 2, dtype=torch.int64), torch.ones(1, 1, 2, dtype=torch.bool)
    ours = consistency_term(log_p, label, confidence, valid, torch.ones(1), ConsistencySettings(tau=0.5), 0)
    assert math.isclose(float(ours), math.log(2))


@pytest.mark.parametrize("group", [0, 1, 2])
def test_a_batch_without_counted_pixels_has_no_weight_and_no_loss(group):
    weight = image_weights(torch.zeros(2, dtype=torch.int64), group)
    log_p = torch.zeros(2, 3, 2, 2).log_softmax(dim=1).requires_grad_()
    loss = label_term(log_p, torch.full((2, 2, 2), IGNORE, dtype=torch.uint8), weight)
    loss.backward()
    assert weight.tolist() == [0.0, 0.0]
    assert float(loss.detach()) == 0 and not log_p.grad.any()


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=8))
def test_weighted_pixels_add_up_to_one(counts):
    for group in (0, 1):
        weight = image_weights(torch.tensor(counts), group)
        assert math.isclose(float((weight * torch.tensor(counts)).sum()), 1)
