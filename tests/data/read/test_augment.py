from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from semivl_cli.config import AugmentSettings
from semivl_cli.data.read.augment import ColorDraw, draw_color, strong_view

PLAIN = ColorDraw(jitter=(), gray=False, sigma=None)


def noise(batch: int = 4, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        0, 256, (batch, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def draws(count: int, **settings: float) -> list[ColorDraw]:
    augment = AugmentSettings(**{"blur": 0.5, **settings})
    return [draw_color(np.random.default_rng(seed), augment) for seed in range(count)]


def assert_close(got: torch.Tensor, expected: torch.Tensor, levels: int = 1) -> None:
    difference = (got.int() - expected.int()).abs()
    assert difference.max() <= levels
    assert (difference > 0).float().mean() < 0.02 * levels


def test_without_any_change_an_image_stays_as_it_is():
    images = noise()
    assert torch.equal(strong_view(images, [PLAIN] * 4), images)


@pytest.mark.parametrize("step", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("factor", [0.5, 0.83, 1.0, 1.37])
def test_a_factor_does_what_torchvision_does(step, factor):
    others = {"brightness", "contrast", "saturation"} - {step}
    draw = replace(PLAIN, jitter=((step, factor), *((other, 1.0) for other in others), ("hue", 0.0)))
    expected = getattr(reference, f"adjust_{step}")(noise(), factor)
    assert_close(strong_view(noise(), [draw] * 4), expected)


@pytest.mark.parametrize("turn", [-0.25, -0.1, 0.0, 0.07, 0.25])
def test_a_hue_turn_does_what_torchvision_does(turn):
    draw = replace(PLAIN, jitter=(("brightness", 1.0), ("hue", turn), ("contrast", 1.0), ("saturation", 1.0)))
    difference = (strong_view(noise(), [draw] * 4).int() - reference.adjust_hue(noise(), turn).int()).abs()
    assert difference.max() <= 1  # torchvision does not round to the nearest value


def test_grayscale_does_what_torchvision_does():
    assert_close(
        strong_view(noise(), [replace(PLAIN, gray=True)] * 4),
        reference.rgb_to_grayscale(noise(), num_output_channels=3),
    )


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_does_what_torchvision_does_away_from_the_border(sigma):
    blurred = strong_view(noise(), [replace(PLAIN, sigma=sigma)] * 4)[..., 7:-7, 7:-7]
    expected = reference.gaussian_blur(noise(), [13, 13], [sigma, sigma])[..., 7:-7, 7:-7]
    assert (blurred.int() - expected.int()).abs().max() <= 1


def test_blur_keeps_an_even_image_even_to_its_border():
    even = torch.full((1, 3, 32, 32), 200, dtype=torch.uint8)
    assert torch.equal(strong_view(even, [replace(PLAIN, sigma=2.0)]), even)


def test_steps_are_taken_in_the_drawn_order():
    darker, flatter, rest = ("brightness", 0.5), ("contrast", 1.5), (("hue", 0.0), ("saturation", 1.0))
    dark_first = replace(PLAIN, jitter=(darker, flatter, *rest))
    contrast_first = replace(PLAIN, jitter=(flatter, darker, *rest))
    for draw in (dark_first, contrast_first):
        expected = noise()
        for step, factor in draw.jitter[:2]:
            # torchvision takes the mean gray over each image of a batch
            expected = getattr(reference, f"adjust_{step}")(expected, factor)
        assert_close(strong_view(noise(), [draw] * 4), expected)
    assert not torch.equal(strong_view(noise(), [dark_first] * 4), strong_view(noise(), [contrast_first] * 4))


def test_an_image_does_not_depend_on_its_neighbours():
    images, drawn = noise(16, seed=3), draws(16)
    together = strong_view(images, drawn)
    alone = torch.cat([strong_view(images[[place]], [drawn[place]]) for place in range(16)])
    assert (together.int() - alone.int()).abs().max() <= 1  # a sum may be taken in another order
    assert (together != alone).float().mean() < 1e-3


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (32, 20)])
def test_tiny_images_are_fine(shape):
    images = noise(8)[..., : shape[0], : shape[1]]
    view = strong_view(images, draws(8, jitter_probability=1.0, blur=1.0))
    assert view.shape == images.shape
    assert view.dtype == torch.uint8


def test_the_input_is_not_written_to():
    images = noise(8)
    before = images.clone()
    strong_view(images, draws(8))
    assert torch.equal(images, before)


def test_draws_follow_the_published_chances_and_ranges():
    drawn = draws(4000)
    assert np.mean([bool(draw.jitter) for draw in drawn]) == pytest.approx(0.8, abs=0.03)
    assert np.mean([draw.gray for draw in drawn]) == pytest.approx(0.2, abs=0.03)
    assert np.mean([draw.sigma is not None for draw in drawn]) == pytest.approx(0.5, abs=0.03)
    for name, low, high in (
        ("brightness", 0.5, 1.5),
        ("contrast", 0.5, 1.5),
        ("saturation", 0.5, 1.5),
        ("hue", -0.25, 0.25),
    ):
        values = [dict(draw.jitter)[name] for draw in drawn if draw.jitter]
        assert low <= min(values) < low + 0.02
        assert high - 0.02 < max(values) <= high
    sigmas = [draw.sigma for draw in drawn if draw.sigma is not None]
    assert 0.1 <= min(sigmas) < 0.12
    assert 1.98 < max(sigmas) <= 2.0
    assert len({tuple(dict(draw.jitter)) for draw in drawn if draw.jitter}) == 24
