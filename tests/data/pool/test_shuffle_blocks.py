import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.data.pool.shuffle_blocks import Blocks

PARTS = st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any)


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


def test_another_epoch_or_seed_is_another_order():
    blocks = Blocks([300, 5], stretch=10, block=4)
    orders = {tuple(blocks.at(position, key) for position in range(305)) for key in ((0, 1, 0), (0, 1, 1), (1, 1, 0))}
    assert len(orders) == 3


@pytest.mark.parametrize("count", [1, 10**8])
def test_a_hundred_million_images_are_as_quick_as_one(count):
    blocks = Blocks([10_000] * (count // 10_000) or [1])
    assert 0 <= blocks.at(count - 1, (3, 1, 4)) < count
