import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from semivl_cli.data.drawing.rle import decode_runs
from semivl_cli.data.formats.coco import paint_annotations
from semivl_cli.errors import InputError

# pycocotools 2.0.11 asks NumPy 2 for arrays in a way that NumPy deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SQUARE = [2, 2, 6, 2, 6, 6, 2, 6]


def annotation(segmentation, category=1, **more):
    return {"id": 7, "category_id": category, "segmentation": segmentation, **more}


def paint(*annotations, size=(8, 10), background=0):
    return paint_annotations(annotations, {1: 1, 2: 2, 90: 255}, size, background)


def box(top, left, bottom, right, size=(8, 10)):
    inside = np.zeros(size, bool)
    inside[top:bottom, left:right] = True
    return inside


@given(arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_run_length_codes_are_read_as_the_reference_library_writes_them(inside):
    code = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    assert (decode_runs(code) == inside).all()
    assert (decode_runs({"size": list(inside.shape), "counts": code["counts"].decode()}) == inside).all()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_plain_counts_go_down_the_columns(counts):
    flat = [place % 2 == 1 for place, count in enumerate(counts) for _ in range(count)]
    assert decode_runs({"size": [1, len(flat)], "counts": counts}).ravel().tolist() == flat
    assert decode_runs({"size": [2, 3], "counts": [1, 3, 2]}).tolist() == [[False, True, False], [True, True, False]]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ({"size": [4, 4], "counts": "44"}, "does not fill its 4 x 4 pixels"),
        ({"size": [4, 4], "counts": "PP10000"}, "does not fill"),
        ({"size": [4, 4], "counts": ""}, "not COCO's"),
        ({"size": [4, 4], "counts": "\x01\x7f"}, "not COCO's"),
        ({"size": [4, 4], "counts": "oooooooooo"}, "not COCO's"),
        ({"size": [4, 4], "counts": "oooooooo0"}, "not COCO's"),
        ({"size": [4, 4], "counts": [3, 50]}, "does not fill"),
        ({"size": [4, 4], "counts": [-3, 19]}, "does not fill"),
        ({"size": [4, 4], "counts": ["a"]}, "no whole numbers"),
        ({"size": [4, 4], "counts": None}, "no whole numbers"),
        ({"size": "4x4", "counts": [16]}, r"expected \[height, width\]"),
        ({"size": [9, 9], "counts": [81]}, "9 x 9 pixels .* the image is 10 x 8"),
    ],
)
def test_a_broken_run_length_code_names_its_annotation(code, message):
    with pytest.raises(InputError, match=f"annotation 7: .*{message}"):
        paint(annotation(code))


@given(st.binary(max_size=20))
def test_any_text_is_a_region_or_one_line(text):
    try:
        assert decode_runs({"size": [3, 5], "counts": text}).shape == (3, 5)
    except InputError as error:
        assert "\n" not in str(error)


def test_polygons_fill_as_the_reference_library_fills_them():
    star = [1.2, 0.4, 8.9, 3.3, 4.0, 7.8, 2.5, 2.5, 9.5, 6.1]
    expected = coco_mask.decode(coco_mask.frPyObjects([star], 8, 10))[..., 0]
    assert (paint(annotation([star])).ids == expected).all()


@given(st.lists(st.floats(-20, 30), min_size=6, max_size=16).map(lambda ring: ring[: len(ring) // 2 * 2]))
def test_polygons_beyond_the_image_are_cut_off(ring):
    expected = coco_mask.decode(coco_mask.frPyObjects([[number + 40 for number in ring]], 100, 100))[40:48, 40:50, 0]
    ids = paint(annotation([ring])).ids
    assert np.count_nonzero(ids != expected) <= np.count_nonzero(expected) * 0.5 + 8  # edges round to either side


def test_several_polygons_of_an_annotation_are_one_region_and_a_bare_one_counts():
    apart = [[0, 0, 3, 0, 3, 3, 0, 3], [6, 4, 9, 4, 9, 8, 6, 8]]
    assert (paint(annotation(apart)).ids == (box(0, 0, 3, 3) | box(4, 6, 8, 9))).all()
    assert (paint(annotation(SQUARE)).ids == box(2, 2, 6, 6)).all()


def test_the_smaller_wins_and_the_larger_gives_way_in_whatever_order():
    table, cup = annotation([SQUARE], 1, area=16), annotation([[3, 3, 5, 3, 5, 5, 3, 5]], 2, area=4)
    expected = box(2, 2, 6, 6) + box(3, 3, 5, 5).astype(int)
    for order in ((table, cup), (cup, table)):
        canvas = paint(*order)
        assert (canvas.ids == expected).all()
        assert (canvas.contested, canvas.uncovered) == (4, 80 - 16)


def test_of_equal_ones_the_later_wins_and_one_class_is_no_contest():
    first, second = annotation([SQUARE], 1), annotation([SQUARE], 2)
    assert paint(first, second).ids[3, 3] == 2
    assert paint(second, first).ids[3, 3] == 1
    assert paint(first, first).contested == 0


def test_a_crowd_gives_way_to_every_single_object():
    crowd = annotation({"size": [8, 10], "counts": [8, 8, 64]}, 2, iscrowd=1, area=8)
    whole = annotation([[0, 0, 10, 0, 10, 8, 0, 8]], 1, area=80)
    assert (paint(whole, crowd).ids == 1).all()
    assert paint(crowd).ids.sum() == 2 * 8


def test_ignored_categories_background_and_bare_boxes():
    canvas = paint(annotation([SQUARE], 90), annotation([], 1), {"id": 8, "category_id": 5, "bbox": [0, 0, 2, 2]})
    assert (canvas.ids == np.where(box(2, 2, 6, 6), 255, 0)).all()
    assert (paint(background=255).ids == 255).all()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 1, 5, 1, 5, 5, 7]], "7 numbers: expected pairs"),
        ([[1, 1, 5, 1, 5, float("nan")]], "nan"),
        ([[1, 1, 5, 1, 5, 1e9]], "far outside"),
        ([[1, 1, 5, 1, 5, "x"]], "'x'"),
        ("rle", "neither a list of polygons nor a run-length code"),
    ],
)
def test_a_broken_polygon_names_its_annotation(segmentation, message):
    with pytest.raises(InputError, match=f"annotation 7: .*{message}"):
        paint(annotation(segmentation))


def test_a_polygon_without_inside_paints_nothing():
    assert paint(annotation([[1, 1, 5, 5]])).ids.sum() == 0


def test_an_unknown_category_names_those_that_exist():
    with pytest.raises(InputError, match="annotation 7 has the category 3, which is none of 1, 2, 90"):
        paint(annotation([SQUARE], 3))
