"""From counted pixels to scores and advice: against a case worked out by hand, and what must always add up."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.engine.zero_shot.word_counts import Counts
from semivl_cli.engine.zero_shot.word_report import judge


def counted(won, sure, without=None) -> Counts:
    won, sure = torch.tensor(won), torch.tensor(sure)
    sampled = torch.stack([torch.stack([table[:, :2].sum(1), table[:, 2]], dim=1) for table in (won, sure)])
    counts = Counts(won, sure, won.clone(), sampled, torch.stack([sampled] * won.shape[1]))
    for k, matrices in (without or {}).items():
        counts.without[k] = torch.tensor(matrices)
    return counts


# Background has "grass" and "star", polygon has "square"; 100 pixels are background, 40 are polygon.
HAND = {"won": [[60, 10, 30], [0, 20, 20]], "sure": [[50, 5, 20], [0, 15, 10]]}
HAND_WORDS = {"texts": ("grass", "star", "square"), "class_of_text": (0, 0, 1), "names": ("background", "polygon")}


def test_a_class_that_no_label_shows_has_no_iou_whatever_is_taken_for_it():
    found = judge(counted([[60, 10, 30], [0, 0, 0]], [[50, 5, 20], [0, 0, 0]]), **HAND_WORDS, aggregate="probability")
    background, polygon = found.classes
    assert polygon.iou is polygon.found is polygon.coverage is None and polygon.precision == 0
    assert found.quality.miou == pytest.approx(background.iou) == pytest.approx(0.7)


def test_shares_are_those_of_the_hand_made_case():
    without_star = [[[62, 38], [15, 25]], [[50, 22], [10, 20]]]
    found = judge(counted(**HAND, without={1: without_star}), **HAND_WORDS, aggregate="probability")
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
    found = judge(counted(**HAND), **HAND_WORDS, aggregate="probability")
    assert found.concepts[0].text == "star"
    assert found.advice[0].startswith('"square" (polygon) takes 30 % of background, which costs')
    assert found.advice[1].startswith('"star" (background): 25 % of what it labels is its own; as a concept of polygon')


def test_a_word_that_wins_nothing_is_named_and_a_class_that_is_never_sure_too():
    counts = counted([[90, 0, 10], [20, 0, 20]], [[80, 0, 0], [0, 0, 1]])
    advice = judge(counts, **HAND_WORDS, aggregate="probability").advice
    assert any(sentence.startswith('won no pixel: "star"') for sentence in advice)
    assert any(sentence.startswith("guidance is sure of 2 % of polygon (and sees 50 %)") for sentence in advice)


@pytest.mark.parametrize(("aggregate", "said"), [("probability", True), ("similarity", False)])
def test_only_words_that_share_a_probability_with_others_are_told_so(aggregate, said):
    counts = counted([[90, 0, 10], [20, 0, 20]], [[1, 0, 0], [0, 0, 1]])
    advice = judge(counts, **HAND_WORDS, aggregate=aggregate).advice
    (several,) = (sentence for sentence in advice if "sure of 1 % of background" in sentence)
    (lone,) = (sentence for sentence in advice if "sure of 2 % of polygon" in sentence)
    assert ("share their probability" in several) is said
    assert lone.endswith(": lower guidance.zeta")


def test_classes_that_the_labels_do_not_show_count_nowhere():
    found = judge(counted([[60, 10, 30], [0, 0, 0]], [[60, 10, 0], [0, 0, 0]]), **HAND_WORDS, aggregate="similarity")
    assert found.quality.miou == pytest.approx(0.7) and found.quality.taught == pytest.approx(0.7)
    assert found.classes[1].coverage is None and found.classes[1].precision is None
    assert not any("polygon" in sentence and "sure of" in sentence for sentence in found.advice)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**31))
def test_findings_add_up_whatever_was_counted(seed):
    rng = np.random.default_rng(seed)
    won = rng.integers(0, 5, (2, 3))
    found = judge(counted(won.tolist(), rng.integers(0, won + 1).tolist()), **HAND_WORDS, aggregate="probability")
    for item in found.classes:
        parts = [concept.coverage for concept in found.concepts if concept.class_name == item.name]
        assert (item.coverage is None) == (item.pixels == 0)
        if item.coverage is not None:
            assert item.coverage == pytest.approx(math.fsum(parts)) and item.coverage <= item.found
    assert sum(concept.won for concept in found.concepts) == won.sum()
    assert sum(theft.pixels for theft in found.thefts) == won[0, 2] + won[1, :2].sum()
    assert 0 <= found.quality.taught <= 1 and all(theft.cost >= -1e-12 for theft in found.thefts)
