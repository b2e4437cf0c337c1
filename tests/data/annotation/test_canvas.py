import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from semivl_cli.data.annotation.canvas import Canvas

# pycocotools 2.0.11 asks NumPy 2 for arrays in a way that NumPy deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def painted(ring):
    canvas = Canvas((8, 10), 0)
    canvas.polygons([ring], 1)
    return canvas.ids


def test_polygons_fill_as_the_reference_library_fills_them():
    star = [1.2, 0.4, 8.9, 3.3, 4.0, 7.8, 2.5, 2.5, 9.5, 6.1]
    expected = coco_mask.decode(coco_mask.frPyObjects([star], 8, 10))[..., 0]
    assert (painted(star) == expected).all()


@given(st.lists(st.floats(-20, 30), min_size=6, max_size=16).map(lambda ring: ring[: len(ring) // 2 * 2]))
def test_polygons_beyond_the_image_are_cut_off(ring):
    expected = coco_mask.decode(coco_mask.frPyObjects([[number + 40 for number in ring]], 100, 100))[40:48, 40:50, 0]
    ids = painted(ring)
    assert np.count_nonzero(ids != expected) <= np.count_nonzero(expected) * 0.5 + 8  # edges round to either side


def test_a_polygon_without_inside_paints_nothing():
    assert painted([1, 1, 5, 5]).sum() == 0
