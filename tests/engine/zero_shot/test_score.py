"""The words of a definition, scored: counts against loops over pixels, findings against a hand-made case."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.engine.zero_shot.score import score_words
from semivl_cli.engine.zero_shot.word_counts import Counts, _spans, _windows, count, no_counts
from semivl_cli.engine.zero_shot.word_report import find
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
FIELDS = ("seen", "sure", "astray", "sampled", "without")


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
    total = no_counts(classes, concepts, torch.device("cpu"))
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
                total.seen[true, winner] += 1
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
    assert counts.seen.sum() == 512 * 256
    assert counts.sampled[0].sum() == counts.without[0, 0].sum() == 128 * 128
    shares = counts.sampled[0, 0] / (128 * 128) - counts.seen[0] @ torch.tensor([[1, 0], [1, 0], [0, 1]]) / (512 * 256)
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


def counted(seen, sure, without=None) -> Counts:
    seen, sure = torch.tensor(seen), torch.tensor(sure)
    classes, concepts = seen.shape
    counts = no_counts(classes, concepts, torch.device("cpu"))
    counts.seen, counts.sure, counts.astray = seen, sure, seen.clone()
    counts.sampled = torch.stack([torch.stack([table[:, :2].sum(1), table[:, 2]], dim=1) for table in (seen, sure)])
    counts.without[:] = counts.sampled
    for k, matrices in (without or {}).items():
        counts.without[k] = torch.tensor(matrices)
    return counts


# Background has "grass" and "star", polygon has "square"; 100 pixels are background, 40 are polygon.
HAND = {"seen": [[60, 10, 30], [0, 20, 20]], "sure": [[50, 5, 20], [0, 15, 10]]}
HAND_WORDS = {"texts": ("grass", "star", "square"), "class_of_text": (0, 0, 1), "names": ("background", "polygon")}


def test_shares_are_those_of_the_hand_made_case():
    without_star = [[[62, 38], [15, 25]], [[50, 22], [10, 20]]]
    found = find(counted(**HAND, without={1: without_star}), **HAND_WORDS, aggregate="probability")
    background, polygon = found.classes
    assert (background.pixels, polygon.pixels) == (100, 40)
    assert background.iou == pytest.approx(70 / 120) and polygon.iou == pytest.approx(20 / 70)
    assert background.found == pytest.approx(0.7)
    assert background.coverage == pytest.approx(55 / 100) and polygon.coverage == pytest.approx(10 / 40)
    assert background.precision == pytest.approx(55 / 70) and polygon.precision == pytest.approx(10 / 30)
    assert found.quality.miou == pytest.approx((70 / 120 + 20 / 70) / 2)
    assert found.quality.taught == pytest.approx((55 / (100 + 15) + 10 / (40 + 20)) / 2)
    assert found.quality.coverage == pytest.approx(65 / 140) and found.quality.precision == pytest.approx(65 / 100)

    star = next(concept for concept in found.concepts if concept.text == "star")
    assert (star.won, star.pixels) == (30, 20)
    assert star.coverage == pytest.approx(5 / 100) and star.precision == pytest.approx(5 / 20)
    assert star.without.miou == pytest.approx((62 / 115 + 25 / 78) / 2 - found.quality.miou)
    assert star.without.taught == pytest.approx((50 / 110 + 20 / 62) / 2 - found.quality.taught)
    assert star.without.coverage == pytest.approx(70 / 140 - 65 / 140)
    assert star.without.precision == pytest.approx(70 / 102 - 65 / 100)
    assert star.better_in == "polygon"
    assert star.moved.miou == pytest.approx((60 / 100 + 40 / 80) / 2 - found.quality.miou)

    square = next(concept for concept in found.concepts if concept.text == "square")
    assert square.without is None and square.better_in is None

    first, second = found.thefts
    assert (first.concept, first.victim, first.pixels) == ("square", "background", 30)
    assert first.cost == pytest.approx((100 / 120 + 20 / 40) / 2 - found.quality.miou)
    assert (second.concept, second.victim, second.pixels) == ("star", "polygon", 20)
    assert second.share == pytest.approx(20 / 40) and second.sure == pytest.approx(15 / 20)
    assert second.cost == pytest.approx((70 / 100 + 40 / 70) / 2 - found.quality.miou)


def test_advice_names_the_concept_the_class_and_the_gain_and_starts_with_the_dearest():
    found = find(counted(**HAND), **HAND_WORDS, aggregate="probability")
    assert found.concepts[0].text == "star"
    assert found.advice[0].startswith('"square" (polygon) takes 30 % of background, which costs')
    assert found.advice[1].startswith('"star" (background): 25 % of what it labels is its own; as a concept of polygon')


def test_a_word_that_wins_nothing_is_named_and_a_class_that_is_never_sure_too():
    counts = counted([[90, 0, 10], [20, 0, 20]], [[80, 0, 0], [0, 0, 1]])
    advice = find(counts, **HAND_WORDS, aggregate="probability").advice
    assert any(sentence.startswith('won no pixel: "star"') for sentence in advice)
    assert any(sentence.startswith("guidance is sure of 2 % of polygon (and sees 50 %)") for sentence in advice)


@pytest.mark.parametrize(("aggregate", "said"), [("probability", True), ("similarity", False)])
def test_only_words_that_share_a_probability_with_others_are_told_so(aggregate, said):
    counts = counted([[90, 0, 10], [20, 0, 20]], [[1, 0, 0], [0, 0, 1]])
    advice = find(counts, **HAND_WORDS, aggregate=aggregate).advice
    (several,) = (sentence for sentence in advice if "sure of 1 % of background" in sentence)
    (lone,) = (sentence for sentence in advice if "sure of 2 % of polygon" in sentence)
    assert ("share their probability" in several) is said
    assert lone.endswith(": lower guidance.zeta")


def test_classes_that_the_labels_do_not_show_count_nowhere():
    found = find(counted([[60, 10, 30], [0, 0, 0]], [[60, 10, 0], [0, 0, 0]]), **HAND_WORDS, aggregate="similarity")
    assert found.quality.miou == pytest.approx(0.7) and found.quality.taught == pytest.approx(0.7)
    assert found.classes[1].coverage is None and found.classes[1].precision is None
    assert not any("polygon" in sentence and "sure of" in sentence for sentence in found.advice)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**31))
def test_findings_add_up_whatever_was_counted(seed):
    rng = np.random.default_rng(seed)
    seen = rng.integers(0, 5, (2, 3))
    found = find(counted(seen.tolist(), rng.integers(0, seen + 1).tolist()), **HAND_WORDS, aggregate="probability")
    for item in found.classes:
        parts = [concept.coverage for concept in found.concepts if concept.class_name == item.name]
        assert (item.coverage is None) == (item.pixels == 0)
        if item.coverage is not None:
            assert item.coverage == pytest.approx(math.fsum(parts)) and item.coverage <= item.found
    assert sum(concept.won for concept in found.concepts) == seen.sum()
    assert sum(theft.pixels for theft in found.thefts) == seen[0, 2] + seen[1, :2].sum()
    assert 0 <= found.quality.taught <= 1 and all(theft.cost >= -1e-12 for theft in found.thefts)


class Told:
    """A reporter that remembers the notes."""

    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)

    def start(self, task, total, done=0):
        self.total = total

    def advance(self, task, done, values):
        self.done = done

    def finish(self, task):
        assert self.done == self.total


def test_the_labelled_images_are_those_of_a_training_and_seeds_change_them():
    def ids(seed):
        flags = {"dataset": "shapes", "seed": seed, "data": {"labels": "3", "definition": "shapes"}, "device": "cpu"}
        return score_words(flags, (), None, Told())

    first, again, other = ids(0), ids(0), ids(1)
    assert len(first.labels) == 3
    assert first == again
    assert first.labels != other.labels


def test_settings_reach_the_guidance():
    flags = {"dataset": "shapes", "data": {"labels": "2", "definition": "shapes"}, "device": "cpu"}
    low, high = (score_words(flags, [f"guidance.zeta={zeta}"], None, Told()).findings for zeta in (0.0, 1.0))
    assert low.quality.taught == pytest.approx(low.quality.miou)
    assert low.quality.coverage > high.quality.coverage
