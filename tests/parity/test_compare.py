"""Each tolerance of the parity runner lets pass what is within and refuses what is beyond."""

import pytest
import torch

from .compare import Comparison

VALUES = torch.tensor([[1.0, -10.0], [0.5, 2.0]])
LABELS = torch.zeros(1, 100, 100, dtype=torch.uint8)


def differs(kind: str, *arguments) -> bool:
    comparison = Comparison()
    getattr(comparison, kind)("it", *arguments)
    assert comparison.tensors + comparison.scalars == 1
    return bool(comparison.failures)


@pytest.mark.parametrize(
    ("kind", "within", "beyond"), [("values", 0.9e-3, 1.1e-3), ("gradient", 0.05, 0.11), ("exact", 1e-8, 1e-3)]
)
def test_a_difference_of_one_element(kind, within, beyond):
    for size, expected in ((0.0, False), (within, False), (beyond, True), (float("nan"), True)):
        ours = VALUES.clone()
        ours[1, 0] += size
        assert differs(kind, ours, VALUES) == expected, size


def test_gradients_may_not_differ_everywhere_by_what_one_element_may():
    assert differs("gradient", VALUES + 0.09, VALUES)


@pytest.mark.parametrize(("pixels", "expected"), [(0, False), (10, False), (11, True)])
def test_a_thousandth_of_the_pixels_may_differ(pixels, expected):
    ours = LABELS.clone()
    ours.view(-1)[:pixels] = 3
    assert differs("labels", ours, LABELS) == expected


def test_rows_that_were_not_recorded_do_not_count_but_missing_ones_do():
    assert not differs("values", torch.cat([VALUES, VALUES + 1]), VALUES)
    assert differs("values", VALUES[:1], VALUES)
    assert differs("values", VALUES[:, :1], VALUES)
    assert differs("values", None, VALUES)


def test_updates_are_compared_where_the_gradient_is_certain():
    grad = torch.tensor([1.0, 0.5, 1e-3])
    recorded = torch.zeros(3)
    assert not differs("moved", torch.tensor([0.9e-5, -0.9e-5, 5e-3]), recorded, grad, 5e-4)
    assert differs("moved", torch.tensor([0.0, 1.1e-5, 0.0]), recorded, grad, 5e-4)


def test_a_weight_that_a_step_brings_near_zero_is_measured_at_its_size_before():
    before, recorded = torch.tensor([1.0, 1e-8]), torch.tensor([1e-8, 1.0])
    ours = recorded + torch.tensor([2e-7, 2e-7])
    assert differs("exact", ours, recorded)
    assert not differs("exact", ours, recorded, before)
    assert differs("exact", recorded + torch.tensor([3e-7, 0.0]), recorded, before)
    assert differs("exact", recorded + torch.tensor([0.0, 3e-7]), recorded, before)


def test_scalars_and_names():
    assert not differs("scalar", 1.0009, 1.0, 1e-3)
    assert differs("scalar", 1.0011, 1.0, 1e-3)
    assert differs("scalar", None, 1.0, 1e-3)
    assert differs("same", [1, 2], [2, 1])
    assert differs("names", {"a", "b"}, {"a"})
    assert differs("zero", torch.tensor([2e-6]), torch.tensor([0.0]))
    assert not differs("zero", torch.tensor([-9e-7]), torch.tensor([1e-7]))


def test_the_verdict_names_all_that_differs():
    comparison = Comparison()
    comparison.verdict()
    comparison.same("first", 1, 2)
    comparison.same("second", 1, 2)
    with pytest.raises(AssertionError, match=r"first.*\n.*second"):
        comparison.verdict()
