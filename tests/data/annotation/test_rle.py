import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from semivl_cli.data.annotation.rle import Code, decode_brush, decode_rle
from semivl_cli.errors import InputError

# pycocotools 2.0.11 asks NumPy 2 for arrays in a way that NumPy deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def decoded(counts, size, said=None):
    inside, (top, left) = decode_rle(Code(size=list(size if said is None else said), counts=counts), size)
    assert top == 0
    whole = np.zeros(size, bool)
    whole[:, left : left + inside.shape[1]] = inside
    return whole


@given(arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_run_length_codes_are_read_as_the_reference_library_writes_them(inside):
    code = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    assert (decoded(code["counts"].decode(), inside.shape) == inside).all()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any))
def test_plain_counts_go_down_the_columns(counts):
    flat = [place % 2 == 1 for place, count in enumerate(counts) for _ in range(count)]
    assert decoded(counts, (1, len(flat))).ravel().tolist() == flat
    assert decoded([1, 3, 2], (2, 3)).tolist() == [[False, True, False], [True, True, False]]


@given(st.text(max_size=20) | st.lists(st.integers(), max_size=20))
def test_any_counts_are_a_region_or_one_line(counts):
    try:
        assert decoded(counts, (3, 5)).shape == (3, 5)
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("44", "does not fill its 4 x 4 pixels"),
        ("PP10000", "does not fill"),
        ("", "not COCO's"),
        ("\x01\x7f", "not COCO's"),
        ("oooooooooo", "not COCO's"),
        ("oooooooo0", "not COCO's"),
        ([3, 50], "does not fill"),
        ([-3, 19], "does not fill"),
        ([2**62, 2**62, 2**62, 2**62, 16], "does not fill"),  # the sum of 64 bits would be 16
        ([10**30], "a run longer than any image"),
        ([], "does not fill"),
    ],
)
def test_a_broken_run_length_code_says_what_is_wrong(counts, message):
    with pytest.raises(InputError, match=message):
        decoded(counts, (4, 4))


@pytest.mark.parametrize("size", [[10**9, 10**9], [5, 4], [4], [], [-4, -4]])
def test_a_code_of_another_size_than_the_image_is_refused_before_memory_is_touched(size):
    with pytest.raises(InputError, match="the image is 4 x 4"):
        decoded([16], (4, 4), said=size)


@given(
    arrays.arrays(np.uint8, st.integers(1, 300), elements=st.sampled_from([0, 0, 255, 7])),
    st.lists(st.integers(1, 16), min_size=4, max_size=4).map(sorted),
)
def test_brush_strokes_are_unpacked_as_they_were_packed(encode_brush, numbers, widths):
    packed = encode_brush(numbers.tolist(), widths)
    assert (decode_brush(packed, len(numbers)) == numbers).all()
    for broken in (packed[:-2], packed[:5], [*packed[:9], 300]):
        with pytest.raises(InputError, match="brush strokes"):
            decode_brush(broken, len(numbers))
    with pytest.raises(InputError, match="brush strokes"):
        decode_brush(packed, len(numbers) + 4)


@given(st.lists(st.integers(0, 255), max_size=60))
def test_any_bytes_are_strokes_or_one_line(packed):
    try:
        assert len(decode_brush(packed, 40)) == 40
    except InputError as error:
        assert "\n" not in str(error)
