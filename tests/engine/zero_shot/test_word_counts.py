"""Which concept wins which pixels, and what guidance would do without it: against loops over pixels."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.engine.zero_shot.word_counts import Counts, _spans, _windows, count
from semivl_cli.model.encoders.dense_vit import DenseEncoder, EncoderSpec
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.pixels import IMAGENET_STATISTICS

SPEC = EncoderSpec(
    width=8,
    layers=1,
    heads=2,
    mlp_width=8,
    patch_size=4,
    grid=(2, 2),
    embed_dim=6,
    activation="gelu",
    norm_eps=1e-5,
    pre_norm=True,
    pool="avg",
    norm_after_pool=True,
)
TEMPERATURE = 4.0
FIELDS = ("won", "sure", "astray", "sampled", "without")


def guide(owners, aggregate) -> DenseClip:
    return DenseClip(
        DenseEncoder(SPEC), torch.zeros(len(owners), 6), owners, TEMPERATURE, IMAGENET_STATISTICS, aggregate
    )


def blown_up(maps, height, width):
    """Bilinear resize `[C, h, w] -> [C, H, W]` by hand, with half-pixel centres and borders that go on."""
    _, h, w = maps.shape
    out = np.zeros((len(maps), height, width))
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * h / height - 0.5, 0), h - 1)
            u = min(max((x + 0.5) * w / width - 0.5, 0), w - 1)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
            for c, m in enumerate(maps):
                upper = m[top, left] * (1 - u + left) + m[top, right] * (u - left)
                lower = m[bottom, left] * (1 - u + left) + m[bottom, right] * (u - left)
                out[c, y, x] = upper * (1 - v + top) + lower * (v - top)
    return out


def p_dc(similarities, owners, aggregate, height, width, classes):
    """Eq. 5 in either order, one class at a time, from the concepts that are given."""
    rows = [[k for k, owner in enumerate(owners) if owner == n] for n in range(classes)]
    if aggregate == "probability":
        weights = np.exp(TEMPERATURE * similarities)
        shares = weights / weights.sum(axis=0)
        return blown_up(np.stack([shares[row].max(axis=0) for row in rows]), height, width)
    best = np.exp(TEMPERATURE * blown_up(np.stack([similarities[row].max(axis=0) for row in rows]), height, width))
    return best / best.sum(axis=0)


def by_hand(similarities, labels, owners, aggregate, zeta):
    classes, concepts = max(owners) + 1, len(owners)
    shapes = (*[(classes, concepts)] * 3, (2, classes, classes), (concepts, 2, classes, classes))
    total = Counts(*(torch.zeros(shape, dtype=torch.int64) for shape in shapes))
    for maps, label in zip(similarities, labels, strict=True):
        height, width = label.shape
        patch = height // maps.shape[1]
        p = p_dc(maps, owners, aggregate, height, width, classes)
        pixels = blown_up(maps, height, width)
        for y in range(height):
            for x in range(width):
                true = int(label[y, x])
                if true == 255:
                    continue
                best = int(p[:, y, x].argmax())
                sure = p[best, y, x] >= zeta
                winner = max((k for k in range(concepts) if owners[k] == best), key=lambda k: pixels[k, y, x])
                total.won[true, winner] += 1
                total.sure[true, winner] += int(sure)
                total.sampled[0, true, best] += 1
                total.sampled[1, true, best] += int(sure)
                top, left = max(y // patch - 1, 0) * patch, max(x // patch - 1, 0) * patch
                around = label[top : (y // patch + 2) * patch, left : (x // patch + 2) * patch]
                total.astray[true, winner] += int(true != best and not (around == best).any())
        for k in range(concepts):
            if owners.count(owners[k]) == 1:
                continue
            kept = [i for i in range(concepts) if i != k]
            p = p_dc(maps[kept], [owners[i] for i in kept], aggregate, height, width, classes)
            for y in range(height):
                for x in range(width):
                    if (true := int(label[y, x])) != 255:
                        best = int(p[:, y, x].argmax())
                        total.without[k, 0, true, best] += 1
                        total.without[k, 1, true, best] += int(p[best, y, x] >= zeta)
    return total


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    patch=st.integers(1, 3),
    owners=st.lists(st.integers(0, 2), min_size=1, max_size=4),
    aggregate=st.sampled_from(["probability", "similarity"]),
    zeta=st.sampled_from([0.0, 0.4, 0.6, 1.0]),
)
def test_every_count_is_what_a_loop_over_the_pixels_finds(seed, grid, patch, owners, aggregate, zeta):
    owners = [0, 1, 2, *owners]  # every class has a concept
    rng = np.random.default_rng(seed)
    similarities = rng.uniform(-1, 1, (2, len(owners), *grid))
    labels = rng.choice([0, 1, 2, 255], (2, grid[0] * patch, grid[1] * patch)).astype(np.uint8)
    ours = count(
        torch.from_numpy(similarities), torch.from_numpy(labels), guide(owners, aggregate).double(), owners, zeta
    )
    expected = by_hand(similarities, labels, owners, aggregate, zeta)
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(ours, field), getattr(expected, field), err_msg=field)


def test_large_windows_are_sampled_for_what_leaving_out_would_do():
    similarities = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(1, 512, 256, dtype=torch.uint8)
    counts = count(similarities, label, guide([0, 0, 1], "probability"), [0, 0, 1], 0.5)
    assert counts.won.sum() == 512 * 256
    assert counts.sampled[0].sum() == counts.without[0, 0].sum() == 128 * 128
    shares = counts.sampled[0, 0] / (128 * 128) - counts.won[0] @ torch.tensor([[1, 0], [1, 0], [0, 1]]) / (512 * 256)
    assert float(shares.abs().max()) < 0.01


@given(height=st.integers(1, 40), width=st.integers(1, 40), crop=st.integers(1, 17), factor=st.integers(1, 3))
def test_windows_show_every_pixel_of_an_image_once(height, width, crop, factor):
    image = np.arange(height * width * 3, dtype=np.int64).reshape(height, width, 3).astype(np.uint8)
    label = (np.arange(height * width).reshape(height, width) % 200).astype(np.uint8)
    large = label.repeat(factor, axis=0).repeat(factor, axis=1)  # a mask keeps its size when its image is scaled
    seen, ends = [], []
    for window, ids, last in _windows([(None, image, large)], crop):
        assert window.shape[:2] == ids.shape == (min(height, crop), min(width, crop))
        seen += ids[ids != 255].tolist()
        ends.append(last)
    assert sorted(seen) == sorted(label.ravel().tolist())
    assert ends == [False] * (len(ends) - 1) + [True]
    assert all(stop - start == min(height, crop) for start, _, stop in _spans(height, crop))
