import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from semivl_cli.data.annotation.polygons import fill
from semivl_cli.errors import InputError

# pycocotools 2.0.11 asks NumPy 2 for arrays in a way that NumPy deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def painted(rings, size, **how):
    inside, (top, left) = fill(rings, size, **how)
    whole = np.zeros(size, bool)
    whole[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return whole


def reference(rings, size):
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, *size))).astype(bool)


def polygons(numbers):
    return st.lists(numbers, min_size=6, max_size=24).map(lambda ring: ring[: len(ring) // 2 * 2])


TENTHS = st.integers(-300, 900).map(lambda tenths: tenths / 10)
FIFTHS = st.integers(-100, 400).map(lambda fifths: fifths / 5)


@pytest.mark.parametrize("numbers", [TENTHS, FIFTHS, st.integers(-30, 90), st.floats(-30, 90)])
def test_polygons_are_those_of_the_reference_library_pixel_by_pixel(numbers):
    sides = st.integers(1, 50)

    @given(st.lists(polygons(numbers), min_size=1, max_size=3), st.tuples(sides, sides))
    def check(rings, size):
        expected = reference(rings, size)
        assert (painted(rings, size, keep_thin=False) == expected).all()
        if all(reference([ring], size).any() for ring in rings):
            assert (painted(rings, size) == expected).all()

    check()


@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(0, 2))
def test_large_ones_as_well(seed, corners, decimals):
    ring = np.random.default_rng(seed).uniform(-50, 450, 2 * corners).round(decimals).tolist()
    assert (painted([ring], (300, 400)) == reference([ring], (300, 400))).all()


@given(st.floats(0, 29), st.floats(0, 19), st.floats(0, 29), st.floats(0, 19))
@example(5, 3, 5, 3)
@example(5, 3, 20, 3)
def test_a_polygon_thinner_than_a_pixel_keeps_the_pixels_that_its_outline_crosses(x, y, right, bottom):
    size = (20, 30)
    ring = [x, y, right, bottom, right, bottom]
    found = painted([ring], size)
    along = np.linspace(0, 1, 997)[:, None] * (np.array((right, bottom)) - (x, y)) + (x, y)
    inner = np.abs(along - along.round()).min(axis=1) > 1e-6  # what runs between two pixels may be of either
    columns, rows = np.floor(along[inner]).astype(int).T
    assert reference([ring], size).any() or found[rows, columns].all()
    assert found.any()
    assert found.sum() <= abs(int(x) - int(right)) + abs(int(y) - int(bottom)) + 3


def test_only_what_vanishes_keeps_its_outline_and_only_within_the_image():
    border = [30, 0, 30, 20, 30, 7]
    assert (painted([border], (20, 30)) == (np.arange(30) == 29)).all()
    assert not painted([border], (20, 29)).any()
    beside = ([30, 0, 30, 20, 31, 7], [0, 5, 0, 9, -3, 7], [3, 20, 9, 20, 5, 40], [0, 0, 30, 0, 7, -0.1])
    assert not painted(beside, (20, 30)).any()
    across = painted([[-500, 4.2, 500, 4.2, 500, 4.25]], (20, 30))
    assert (across == (np.arange(20) == 4)[:, None]).all()
    square, line = [2, 2, 6, 2, 6, 6, 2, 6], [10, 3.1, 14, 3.1, 14, 3.2]
    both = painted([square, line], (20, 30))
    assert both.sum() == 16 + 5
    assert (painted([square, line], (20, 30), keep_thin=False) == painted([square], (20, 30))).all()


@pytest.mark.parametrize(
    ("ring", "count"),
    [
        ([0, -1, 1, -1, 1, 0, 0, 0], 0),
        ([10, 3, 12, 3, 12, 5, 10, 5], 0),
        ([-2, -2, 0, -2, 0, 0], 0),
        ([10, 3.5, 10, 4.5, 10, 3.5], 2),
        ([-1, -1, 0.2, -1, 0.2, 0.2, -1, 0.2], 1),
    ],
)
def test_one_outside_that_touches_the_border_has_no_part_of_the_image(ring, count):
    assert np.count_nonzero(painted([ring], (8, 10))) == count


@pytest.mark.parametrize(
    ("ring", "message"),
    [
        ([1, 1, 5, 1, 5, 5, 7], "7 numbers: expected pairs"),
        ([1, 1, 5, 1, 5, float("nan")], "the coordinate nan, expected a number"),
        ([1, 1, 5, 1, 5, float("-inf")], "the coordinate -inf, expected a number"),
        ([1, 1, 5, 1, 5, 1e9], "1e.09, which is far outside"),
        ([1, 1, 5, 1, 5, 10**400], "no number of pixels"),
        ([1, 1, 5, 1, 5, "x"], "no number of pixels"),
    ],
)
def test_what_is_no_polygon_is_refused(ring, message):
    with pytest.raises(InputError, match=message):
        fill([ring], (20, 30))


@pytest.mark.parametrize("keep_thin", [True, False])
def test_sides_without_end_are_refused_before_memory_is_touched(keep_thin):
    zigzag = [0, 0, 9000, 1] * 600
    with pytest.raises(InputError, match=r"cross 10\d+ columns of pixels: more than 5000000 are refused"):
        fill([zigzag], (20, 9000), keep_thin=keep_thin)
    with pytest.raises(InputError, match="more than 5000000"):
        fill([[0, 0.1, 900_000, 0.1] * 3], (1, 1_000_000))
