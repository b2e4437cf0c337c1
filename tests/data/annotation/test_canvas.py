import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.rle import Code

SIZE = (8, 10)
BOX = st.tuples(st.integers(-3, 9), st.integers(-3, 9), st.integers(1, 12), st.integers(1, 12), st.integers(1, 4))
"""Column, row, width, height and class."""


def ring(x, y, across, down):
    return [x, y, x + across, y, x + across, y + down, x, y + down]


def painted(boxes, **how):
    canvas = Canvas(SIZE, 0, **how)
    for *sides, class_id in boxes:
        canvas.polygons([ring(*sides)], class_id)
    return canvas


def area(box):
    return int((painted([box]).ids != 0).sum())


def test_a_polygon_without_inside_paints_nothing():
    canvas = Canvas(SIZE, 0)
    canvas.polygons([[1, 1, 5, 5]], 1)
    assert (canvas.ids.sum(), canvas.uncovered) == (0, 80)


def test_regions_are_cut_off_at_the_border_and_lie_where_they_are_told():
    canvas = Canvas(SIZE, 0)
    canvas.region(np.ones((4, 4), bool), 1, at=(-2, 8))
    canvas.region(np.ones((4, 4), bool), 2, at=(20, 3))
    assert canvas.ids[:2, 8:].tolist() == [[1, 1], [1, 1]]
    assert canvas.ids.sum() == 4


def test_codes_are_painted_where_they_are_told():
    canvas = Canvas(SIZE, 0)
    canvas.code(Code(size=[8, 10], counts=[16, 3, 61]), 2)
    assert (canvas.ids[:3, 2] == 2).all()
    assert canvas.ids.sum() == 6


@given(st.lists(BOX, max_size=8))
def test_the_smaller_lies_on_top_in_whatever_order_and_of_equal_ones_the_later(boxes):
    in_order = painted(sorted(boxes, key=area, reverse=True))
    found = painted(boxes, smaller_on_top=True)
    assert (found.ids == in_order.ids).all()
    assert (found.contested, found.uncovered) == (in_order.contested, in_order.uncovered)


@pytest.mark.parametrize("smaller_on_top", [True, False])
@given(st.lists(BOX, max_size=5), st.lists(BOX, max_size=5))
def test_two_canvases_of_an_image_are_as_one(smaller_on_top, boxes, others):
    first, second = painted(boxes, smaller_on_top=smaller_on_top), painted(others, smaller_on_top=smaller_on_top)
    first.lay(second)
    whole = painted(boxes + others, smaller_on_top=smaller_on_top)
    assert (first.ids == whole.ids).all()
    assert first.uncovered == whole.uncovered
    assert first.contested <= whole.contested
    assert first.classes <= {class_id for *_, class_id in boxes + others}


@given(st.lists(BOX, max_size=5), BOX)
def test_a_turned_canvas_is_painted_on_as_one_that_was_always_so(boxes, more):
    canvas, expected = painted(boxes, smaller_on_top=True), painted([*boxes, more], smaller_on_top=True)
    canvas.turn(np.rot90)
    left, top, across, down, class_id = more
    canvas.polygons([ring(top, 10 - left - across, down, across)], class_id)
    assert (canvas.ids == np.rot90(expected.ids)).all()
