"""IoU from counts against a loop over pixels."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.class_ids import IGNORE
from semivl_cli.engine.infer.metrics import (
    class_iou,
    confusion,
    intersection_union,
    labeled_iou,
    mean_iou,
    mean_present,
)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(0, 40), st.integers(0, 2**31))
def test_counts_agree_with_a_loop_over_pixels(classes, pixels, seed):
    rng = torch.Generator().manual_seed(seed)
    prediction = torch.randint(classes, (pixels,), generator=rng, dtype=torch.uint8)
    label = torch.randint(classes, (pixels,), generator=rng, dtype=torch.uint8)
    label[torch.rand(pixels, generator=rng) < 0.2] = IGNORE
    matrix = confusion(prediction, label, classes)
    intersection, union = intersection_union(matrix)
    pairs = [(p, t) for p, t in zip(prediction.tolist(), label.tolist(), strict=True) if t != IGNORE]
    ious = []
    for c in range(classes):
        both, either = sum(p == t == c for p, t in pairs), sum(c in pair for pair in pairs)
        assert (int(intersection[c]), int(union[c])) == (both, either)
        ious.append(both / either if either else 0.0)
    assert torch.allclose(class_iou(matrix), torch.tensor(ious, dtype=torch.float64), atol=1e-9)
    assert math.isclose(mean_iou(matrix), sum(ious) / classes, abs_tol=1e-9)
    assert matrix.dtype == torch.int64 and int(matrix.sum()) == len(pairs)


def test_rows_are_labels_and_columns_predictions():
    matrix = confusion(torch.tensor([1, 1, 0], dtype=torch.uint8), torch.tensor([0, 1, IGNORE], dtype=torch.uint8), 2)
    assert matrix.tolist() == [[0, 1], [0, 1]]


def test_matrices_of_images_add_up_to_the_matrix_of_the_set():
    prediction, label = torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 0], [1, IGNORE]])
    apart = confusion(prediction[0], label[0], 2) + confusion(prediction[1], label[1], 2)
    assert torch.equal(apart, confusion(prediction, label, 2))


def test_a_class_that_neither_occurs_nor_is_predicted_counts_as_zero():
    matrix = torch.diag(torch.tensor([5, 0]))
    assert mean_iou(matrix) == 0.5 * float(class_iou(matrix)[0])


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(0, 40), st.integers(0, 2**31))
def test_the_means_agree_with_a_loop_over_the_classes_that_labels_show(classes, pixels, seed):
    rng = torch.Generator().manual_seed(seed)
    prediction, label = (torch.randint(classes, (pixels,), generator=rng, dtype=torch.uint8) for _ in range(2))
    matrix = confusion(prediction, label, classes)
    shown, found = set(label.tolist()), labeled_iou(matrix)
    assert [value is not None for value in found] == [number in shown for number in range(classes)]
    iou = class_iou(matrix).tolist()
    expected = [iou[number] for number in sorted(shown)]
    if not expected:
        assert mean_present(found) is None
    else:
        assert math.isclose(mean_present(found), sum(expected) / len(expected), abs_tol=1e-12)
        assert mean_iou(matrix) <= mean_present(found) + 1e-12
