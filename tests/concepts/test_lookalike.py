"""Which texts count as look-alikes, and which do not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.concepts.lookalike import find_lookalikes


@pytest.mark.parametrize(
    ("one", "two", "difference"),
    [
        ("Chair", "chair", "case"),
        ("traffic light", "traffic-light", "spaces or signs"),
        ("hotdog", "hot dog", "spaces or signs"),
        ("wolves", "wolf", "singular and plural"),
        ("knife", "knives", "singular and plural"),
        ("benches", "Bench", "singular and plural"),
        ("flower in a vase", "flowers in a vase", "singular and plural"),
        ("ponies", "pony", "singular and plural"),
        ("color sign", "colour sign", "British and American spelling"),
        ("aeroplane", "airplane", "British and American spelling"),
        ("conveyer belt", "conveyor belt", "one letter"),
        ("refridgerator", "refrigerator", "one letter"),
        ("refirgerator", "refrigerator", "one letter"),
    ],
)
def test_these_look_alike(one, two, difference):
    assert find_lookalikes([one, "something else", two]) == [(0, 2, difference)]


@pytest.mark.parametrize(
    "texts",
    [
        ["car", "cat", "cap", "bar"],
        ["house", "horse", "mouse"],
        ["fountain", "mountain"],
        ["bus", "glass", "grass"],
        ["chair", "armchair", "swivel chair"],
        ["sofa", "sofa"],
        ["!", "?"],
        ["a" * 61, "b" + "a" * 60],
    ],
)
def test_these_do_not(texts):
    assert find_lookalikes(texts) == []


@settings(deadline=None)
@given(st.lists(st.text(max_size=20), max_size=8))
def test_pairs_are_ordered_and_come_once(texts):
    pairs = [(one, two) for one, two, _ in find_lookalikes(texts)]
    assert len(set(pairs)) == len(pairs)
    assert all(one < two and texts[one] != texts[two] for one, two in pairs)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=40))
def test_a_change_of_case_is_found(text):
    expected = [(0, 1, "case")] if text.upper().lower() == text.lower() != text.upper() else []
    if text.lower() != text.upper() and expected:
        assert find_lookalikes([text.lower(), text.upper()]) == expected
