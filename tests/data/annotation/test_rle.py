import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from semivl_cli.data.annotation.rle import decode_brush, decode_rle
from semivl_cli.errors import InputError

# pycocotools 2.0.11 asks NumPy 2 for arrays in a way that NumPy deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@given(arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_run_length_codes_are_read_as_the_reference_library_writes_them(inside):
    code = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    assert (decode_rle(code) == inside).all()
    assert (decode_rle({"size": list(inside.shape), "counts": code["counts"].decode()}) == inside).all()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_plain_counts_go_down_the_columns(counts):
    flat = [place % 2 == 1 for place, count in enumerate(counts) for _ in range(count)]
    assert decode_rle({"size": [1, len(flat)], "counts": counts}).ravel().tolist() == flat
    assert decode_rle({"size": [2, 3], "counts": [1, 3, 2]}).tolist() == [[False, True, False], [True, True, False]]


@given(st.binary(max_size=20))
def test_any_text_is_a_region_or_one_line(text):
    try:
        assert decode_rle({"size": [3, 5], "counts": text}).shape == (3, 5)
    except InputError as error:
        assert "\n" not in str(error)


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
