import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.config import AugmentSettings
from semivl_cli.data.read.cutmix import box_mask, draw_box, paste
from semivl_cli.errors import InputError
from semivl_cli.settings_toml import resolve

ALWAYS = AugmentSettings(cutmix=1.0)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(8, 200), width=st.integers(8, 200))
def test_a_box_fits_and_has_the_drawn_area_and_form(seed, height, width):
    top, left, box_height, box_width = draw_box(np.random.default_rng(seed), height, width, ALWAYS)
    assert 0 <= top <= top + box_height <= height
    assert 0 <= left <= left + box_width <= width
    assert box_height * box_width <= 0.4 * height * width
    assert (box_height + 1) * (box_width + 1) > 0.02 * height * width
    form = height / width
    assert (box_height + 1) / (box_width + 1e-9) > 0.3 * form * 0.999
    assert (box_width + 1) / (box_height + 1e-9) > 0.3 / form * 0.999


def test_half_of_the_views_have_a_box_and_their_area_is_uniform():
    boxes = [draw_box(np.random.default_rng(seed), 512, 512, AugmentSettings()) for seed in range(2000)]
    drawn = np.array([box for box in boxes if any(box)])
    assert 900 < len(drawn) < 1100
    assert all(box == (0, 0, 0, 0) for box in boxes if not any(box))
    share = drawn[:, 2] * drawn[:, 3] / 512**2
    assert share.mean() == pytest.approx(0.21, abs=0.01)
    assert np.quantile(share, 0.25) == pytest.approx(0.115, abs=0.015)


@pytest.mark.parametrize(("area", "ratio"), [([0.5, 1.0], [0.3, 3.0]), ([0.02, 0.4], [10.0, 20.0])])
def test_boxes_that_could_never_fit_are_refused(area, ratio):
    with pytest.raises(InputError, match="hardly ever fit"):
        resolve({"augment": {"cutmix_area": area, "cutmix_ratio": ratio}})


@pytest.mark.parametrize("area", [0.4, 0.9])
def test_the_largest_boxes_are_found(area):
    box = draw_box(np.random.default_rng(0), 96, 96, AugmentSettings(cutmix=1.0, cutmix_area=[area, area]))
    assert box[2] * box[3] / 96**2 == pytest.approx(area, abs=0.03)


@pytest.mark.parametrize("shape", [(3, 9, 11), (3, 2, 9, 11), (3, 2, 4, 9, 11)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32, torch.bool])
def test_paste_agrees_with_slicing(shape, dtype):
    generator = torch.Generator().manual_seed(0)
    base, patch = (torch.randint(0, 2, shape, generator=generator).to(dtype) for _ in range(2))
    boxes = torch.tensor([[0, 0, 0, 0], [2, 3, 4, 5], [0, 0, 9, 11]])
    expected = base.clone()
    for place, (top, left, height, width) in enumerate(boxes.tolist()):
        inside = (place, ..., slice(top, top + height), slice(left, left + width))
        expected[inside] = patch[inside]
    before = base.clone()
    assert torch.equal(paste(base, patch, box_mask(boxes, 9, 11)), expected)
    assert torch.equal(base, before)
    assert box_mask(boxes, 9, 11).sum(dim=(1, 2)).tolist() == [0, 20, 99]
