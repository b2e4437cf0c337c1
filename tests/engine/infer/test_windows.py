"""Sliding windows: what they cover, and how their answers become one."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from semivl_cli.engine.infer.windows import Inference, class_scores, classes_at, scores_at
from semivl_cli.settings_toml import resolve

CONSTANT = torch.tensor([0.5, -1.0, 2.0])


def how(*, mode, stride, crop, **more):
    return Inference(resolve({"data": {"crop": crop}, "evaluation": {"mode": mode, "stride": stride}}), **more)


def constant(image):
    """A model whose logits are the same everywhere."""
    return CONSTANT[None, :, None, None].expand(len(image), 3, *image.shape[2:]).clone()


def own_color(image):
    """A model whose logits are the pixel's own color."""
    return image.float()


def numbered(height, width):
    """An image each pixel of which has a color of its own."""
    return torch.randint(256, (1, 3, height, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


cases = given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 16), st.integers(1, 16), st.sampled_from([1, 3, 8])
)


@settings(max_examples=60, deadline=None)
@cases
@example(40, 7, 16, 16, 1)
@example(40, 40, 4, 16, 1)
def test_averaged_logits_cover_every_pixel_at_its_own_place(height, width, crop, stride, windows):
    by = how(mode="averaged_logits", stride=stride, crop=crop, at_once=windows)
    image = numbered(height, width)
    assert torch.allclose(class_scores(own_color, image, by), image.float(), atol=1e-3)
    assert torch.allclose(class_scores(constant, image, by), constant(image), atol=1e-5)


@settings(max_examples=60, deadline=None)
@cases
def test_summed_probabilities_add_one_for_every_window_over_a_pixel(height, width, crop, stride, windows):
    stride = min(stride, crop)
    by = how(mode="summed_probabilities", stride=stride, crop=crop, at_once=windows)
    scores = class_scores(constant, numbered(height, width), by)
    for y in range(0, height, 7):
        for x in range(0, width, 5):
            over = sum(
                top <= y < top + crop and left <= x < left + crop
                for top in range(0, height, stride)
                for left in range(0, width, stride)
            )
            assert torch.allclose(scores[0, :, y, x], over * CONSTANT.softmax(dim=0), atol=1e-4)


@pytest.mark.parametrize("mode", ["averaged_logits", "summed_probabilities", "whole"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 30), (20, 9)])
def test_the_model_never_sees_a_side_shorter_than_it_takes(mode, height, width):
    shapes = []

    def picky(image):
        shapes.append(tuple(image.shape[2:]))
        return own_color(image)

    image = numbered(height, width)
    by = how(mode=mode, stride=8, crop=12, smallest=6)
    scores = class_scores(picky, image, by)
    assert scores.shape == (1, 3, height, width)
    assert all(min(shape) >= 6 for shape in shapes)
    if mode != "summed_probabilities":
        assert torch.allclose(scores, image.float(), atol=1e-3)  # padding left no trace


@pytest.mark.parametrize(
    ("side", "crop", "stride", "expected"),
    [(20, 8, 4, [0, 4, 8, 12]), (21, 8, 4, [0, 4, 8, 12, 13]), (8, 8, 4, [0]), (5, 8, 4, [0]), (13, 8, 4, [0, 4, 5])],
)
@pytest.mark.parametrize("axis", [2, 3])
def test_windows_of_averaged_logits_are_as_few_as_the_stride_allows_and_end_inside(side, crop, stride, expected, axis):
    """A window more would count its pixels twice."""
    starts = []

    def model(window):
        starts.append(int(window[0, 0, 0, 0]))
        return own_color(window)

    numbers = torch.arange(side, dtype=torch.uint8)
    shape = (1, 1, side, 1) if axis == 2 else (1, 1, 1, side)
    by = how(mode="averaged_logits", stride=stride, crop=crop, at_once=1)
    class_scores(model, numbers.view(shape).repeat(1, 3, 1, 1), by)
    assert starts == expected


def test_whole_is_one_window():
    shapes = []

    def model(image):
        shapes.append(tuple(image.shape))
        return own_color(image)

    class_scores(model, numbered(30, 50), how(mode="whole", stride=4, crop=8))
    assert shapes == [(1, 3, 30, 50)]


@pytest.mark.parametrize("mode", ["averaged_logits", "summed_probabilities"])
def test_how_many_windows_are_computed_at_once_changes_nothing(mode):
    image, sizes = numbered(33, 47), []

    def model(part):
        sizes.append(len(part))
        return own_color(part) - own_color(part).mean(dim=(2, 3), keepdim=True)

    one, many = (class_scores(model, image, how(mode=mode, stride=10, crop=16, at_once=windows)) for windows in (1, 5))
    assert torch.allclose(one, many, atol=1e-4)
    assert max(sizes) == 5


@pytest.mark.parametrize("mode", ["averaged_logits", "summed_probabilities", "whole"])
@pytest.mark.parametrize("windows", [1, 4, 8])
def test_images_of_a_batch_are_scored_each_for_itself(mode, windows):
    batch = torch.cat([numbered(21, 30), 255 - numbered(21, 30), numbered(21, 30).flip(3)])
    by = how(mode=mode, stride=7, crop=12, at_once=windows)
    apart = torch.cat([class_scores(own_color, image, by) for image in batch.split(1)])
    assert torch.allclose(class_scores(own_color, batch, by), apart, atol=1e-4)


def test_scores_are_resized_corner_to_corner():
    scores = torch.tensor([[[[0.0, 1.0]], [[1.0, 0.0]]]])
    resized = scores_at(scores, (1, 5))
    assert torch.allclose(resized[0, 0, 0], torch.linspace(0, 1, 5))
    classes = classes_at(scores + torch.tensor([0.01, 0.0]).view(1, 2, 1, 1), (2, 5))
    assert classes.dtype == torch.uint8
    assert classes.tolist() == [[[1, 1, 0, 0, 0], [1, 1, 0, 0, 0]]]
    assert scores_at(scores, (1, 2)) is scores
