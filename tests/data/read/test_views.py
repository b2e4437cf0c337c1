import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from semivl_cli.config import DataSettings
from semivl_cli.data.read.views import (
    View,
    at_short_side,
    draw_view,
    scale_size,
    validation_size,
    view_ignore,
    view_image,
    view_label,
)
from semivl_cli.errors import InputError

# Sizes of the published code, [height, width]: image, validation at short side 512, training at the base scale
# (2048, 512) with a factor.
PUBLISHED = [
    ((375, 500), (512, 683), {0.5: (256, 341), 0.777: (397, 529), 2.0: (1024, 1365)}),
    ((500, 375), (683, 512), {0.5: (341, 256), 0.777: (529, 397), 2.0: (1365, 1024)}),
    ((512, 683), (512, 683), {0.5: (256, 342), 0.777: (397, 530), 2.0: (1024, 1366)}),
    ((256, 1100), (512, 2200), {0.5: (238, 1024), 0.777: (370, 1591), 2.0: (953, 4096)}),
    ((333, 500), (512, 769), {0.5: (256, 384), 0.777: (397, 596), 2.0: (1024, 1538)}),
    ((1024, 2048), (512, 1024), {0.5: (256, 512), 0.777: (397, 794), 2.0: (1024, 2048)}),
    ((512, 512), (512, 512), {0.5: (256, 256), 0.777: (397, 397), 2.0: (1024, 1024)}),
    ((480, 640), (512, 683), {0.5: (256, 341), 0.777: (397, 529), 2.0: (1024, 1365)}),
]
BASES = st.sampled_from([None, (2048, 512), (96, 48)])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("size", "validation", "training"), PUBLISHED)
def test_sizes_are_the_published_ones(size, validation, training):
    assert validation_size(size, 512) == validation
    for factor, scaled in training.items():
        assert scale_size(rng(), size, (2048, 512), (factor, factor)) == scaled


def test_without_base_scale_the_long_side_is_drawn_between_its_ends():
    sizes = {scale_size(rng(seed), (30, 40), None, (0.5, 2.0)) for seed in range(2000)}
    assert {long_side for _, long_side in sizes} == set(range(20, 81))
    assert all(height == int(30 * width / 40 + 0.5) for height, width in sizes)


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    crop=st.integers(1, 100),
    base=BASES,
    seed=st.integers(0, 9999),
)
def test_a_view_has_the_crops_size_and_image_label_and_ignore_agree(size, crop, base, seed):
    view = draw_view(rng(seed), size, DataSettings(crop=crop, base_scale=base and [*base]), 0.5)
    image = view_image(np.full((*size, 3), 77, np.uint8), view)
    label, ignore = view_label(np.full(size, 3, np.uint8), view), view_ignore(view)
    assert image.shape == (crop, crop, 3)
    assert label.shape == ignore.shape == (crop, crop)
    padding = ignore == 255
    assert np.array_equal(padding, label == 255)
    assert np.array_equal(padding, (image == 0).all(axis=2))
    assert set(np.unique(ignore)) <= {0, 255}
    assert (~padding).sum() == min(crop, view.size[0]) * min(crop, view.size[1])  # a crop never pads without need


@pytest.mark.parametrize("opencv", [True, False])
@pytest.mark.parametrize("size", [(31, 47), (90, 130), (200, 260)])
def test_a_view_is_a_part_of_the_scaled_image(opencv, size):
    pixels = rng().integers(0, 256, (100, 140, 3), dtype=np.uint8)
    label = rng(1).integers(0, 9, (100, 140), dtype=np.uint8)
    if opencv:
        scaled = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)
        scaled_label = cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)
    else:
        scaled = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
        scaled_label = np.asarray(Image.fromarray(label).resize(size[::-1], Image.Resampling.NEAREST))
    for top, left in ((0, 0), (3, 7), (size[0] - 20, size[1] - 20)):
        view = View(size=size, top=top, left=left, crop=20, flip=False, opencv=opencv)
        part = slice(top, top + 20), slice(left, left + 20)
        assert np.abs(view_image(pixels, view).astype(int) - scaled[part]).max() <= 1
        assert (view_label(label, view) != scaled_label[part]).mean() < 0.01


def test_a_flip_mirrors_the_crop_with_its_padding():
    pixels = rng().integers(1, 256, (10, 12, 3), dtype=np.uint8)
    plain, flipped = (View(size=(10, 12), top=0, left=0, crop=16, flip=flip, opencv=True) for flip in (False, True))
    assert np.array_equal(view_image(pixels, flipped), view_image(pixels, plain)[:, ::-1])
    assert np.array_equal(view_ignore(flipped), view_ignore(plain)[:, ::-1])
    assert (view_ignore(flipped)[0, :4] == 255).all()


def test_draws_use_their_whole_range():
    data = DataSettings(crop=32, base_scale=[60, 40], scale_range=[1.0, 1.0])
    views = [draw_view(rng(seed), (40, 60), data, 0.5) for seed in range(600)]
    assert {view.top for view in views} == set(range(9))
    assert {view.left for view in views} == set(range(29))
    assert 200 < sum(view.flip for view in views) < 400


def test_validation_keeps_an_image_that_has_the_size():
    image = rng().integers(0, 256, (6, 9, 3), dtype=np.uint8)
    assert at_short_side(image, 6) is image
    assert at_short_side(image, 12).shape == (12, 18, 3)


def test_the_long_side_of_a_ribbon_is_bounded():
    assert at_short_side(np.zeros((2, 100, 3), np.uint8), 4).shape == (1, 32, 3)


def test_an_image_is_never_scaled_to_more_than_is_taken(monkeypatch):
    monkeypatch.setenv("SEMIVL_MAX_MEGAPIXELS", "1")
    assert validation_size((100, 100), 900) == (900, 900)
    with pytest.raises(InputError, match=r"of 100 x 100, scaled .*: 1100 x 1100 pixels.*SEMIVL_MAX_MEGAPIXELS"):
        validation_size((100, 100), 1100)
