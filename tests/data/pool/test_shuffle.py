import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semivl_cli.data.pool.shuffle import shuffled

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
