import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.data.pool.shuffle import Blocks, shuffled

PARTS = st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any)
KEYS = st.lists(st.integers(0, 2**63), min_size=1, max_size=4)


@given(st.integers(1, 300), KEYS)
def test_every_image_stands_at_one_place(count, key):
    assert sorted(shuffled(place, count, key) for place in range(count)) == list(range(count))


@given(st.integers(1, 10**12), st.data())
def test_a_place_of_a_billion_images_costs_as_little_as_one_of_ten(count, data):
    place = data.draw(st.integers(0, count - 1))
    assert 0 <= shuffled(place, count, [0, 1, 2]) < count


def test_every_image_comes_equally_often_at_every_place():
    count, draws = 12, 3000
    seen = np.zeros((count, count))
    for number in range(draws):
        for place in range(count):
            seen[place, shuffled(place, count, [0, 1, number])] += 1
    expected = draws / count
    chi_square = ((seen - expected) ** 2 / expected).sum()
    assert chi_square < (count - 1) ** 2 + 6 * np.sqrt(2 * (count - 1) ** 2)


def test_neighbours_are_torn_apart():
    count = 5000
    order = np.array([shuffled(place, count, [3]) for place in range(count)])
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.05
    assert abs(np.corrcoef(order, np.arange(count))[0, 1]) < 0.05


def test_another_key_is_another_shuffle():
    assert len({tuple(shuffled(place, 20, [0, number]) for place in range(20)) for number in range(50)}) == 50


@settings(max_examples=50)
@given(PARTS, st.integers(1, 9), st.integers(1, 5), st.lists(st.integers(0, 2**40), min_size=1, max_size=3))
def test_every_number_stands_at_one_position(parts, stretch, block, key):
    blocks = Blocks(parts, stretch=stretch, block=block)
    order = [blocks.at(position, key) for position in range(sum(parts))]
    assert sorted(order) == list(range(sum(parts)))
    again = Blocks(parts, stretch=stretch, block=block)
    assert order[::-1] == [again.at(position, key) for position in reversed(range(sum(parts)))]


def test_what_comes_at_one_time_lies_in_few_stretches():
    blocks = Blocks([1000] * 100, stretch=50, block=8)
    order = np.array([blocks.at(position, (0, 1, 0)) for position in range(400)])
    stretches = np.unique(order // 50)
    assert len(stretches) == 8  # the whole of eight stretches, before any other
    assert len(np.unique(stretches // 20)) > 4  # of many shards
    assert np.abs(np.diff(order)).min() > 0
    assert np.median(np.abs(np.diff(order))) > 1000  # neighbours in time are no neighbours in a shard


def test_another_epoch_or_seed_is_another_order_of_blocks():
    blocks = Blocks([300, 5], stretch=10, block=4)
    orders = {tuple(blocks.at(position, key) for position in range(305)) for key in ((0, 1, 0), (0, 1, 1), (1, 1, 0))}
    assert len(orders) == 3


@pytest.mark.parametrize("count", [1, 10**8])
def test_a_hundred_million_images_are_as_quick_as_one(count):
    blocks = Blocks([10_000] * (count // 10_000) or [1])
    assert 0 <= blocks.at(count - 1, (3, 1, 4)) < count
