import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semivl_cli.data.read.brightness import is_faint, to_bytes
from semivl_cli.errors import InputError

SAME = ["<u2", ">u2", "<i2", ">i2", "<i4", ">i4", "<u4", ">u4", "<i8", "<u8"]


@given(st.lists(st.integers(0, 2**15 - 1), min_size=1, max_size=30))
def test_the_same_numbers_look_the_same_whatever_holds_them(numbers):
    shown = [to_bytes(np.array([numbers], kind)).tolist() for kind in SAME]
    assert all(one == shown[0] for one in shown)
    assert shown[0] == np.rint(np.array([numbers]) / 257).tolist()


def test_bytes_stay_and_fractions_are_a_share_of_white():
    assert to_bytes(np.array([[0, 7, 127]], np.int8)).tolist() == [[0, 7, 127]]
    assert to_bytes(np.array([[-128, 127]], np.int8), (-128, 127)).tolist() == [[0, 255]]
    assert to_bytes(np.array([[0, 7, 255]], np.uint8), (0, 100)).tolist() == [[0, 7, 255]]
    assert to_bytes(np.array([[0, 0.5, 1, 1.0005, -0.0005, np.nan, np.inf]])).tolist() == [[0, 128, 255, 255, 0, 0, 0]]


def test_a_frame_of_a_series_is_as_bright_as_its_numbers():
    bright, dark = np.full((4, 4), 60000, np.int32), np.full((4, 4), 600, np.int32)
    assert (int(to_bytes(bright)[0, 0]), int(to_bytes(dark)[0, 0])) == (233, 2)
    assert to_bytes(np.array([[255, 256]], np.int32)).tolist() == [[1, 1]]  # no jump where 8 bits end


@given(st.integers(-3000, 3000), st.integers(1, 5000), st.sampled_from(["<i2", ">u2", "<i4", "<f4", ">f8"]))
def test_a_range_tells_black_and_white(low, width, kind):
    if np.dtype(kind).kind == "u":
        low = abs(low)
    numbers = np.array([[low, low + width]], kind)
    assert to_bytes(numbers, (low, low + width)).tolist() == [[0, 255]]
    middle = to_bytes(np.array([[low - 1 if low > 0 else low, low + width // 2]], kind), (low, low + width))
    assert middle[0, 0] == 0
    assert abs(int(middle[0, 1]) - 255 * (width // 2) / width) <= 0.5


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ([-1, 5], "i1"),
        ([-1, 5], "i2"),
        ([0, 65536], "i4"),
        ([0, 2**40], "u8"),
        ([0, 255], "f4"),
        ([-0.1, 1], "f8"),
        ([1], "c8"),
    ],
)
def test_numbers_that_mean_nothing_by_themselves_are_refused(numbers, kind):
    with pytest.raises(InputError, match="its numbers are"):
        to_bytes(np.array([numbers], kind))


def test_large_arrays_are_brought_to_bytes_in_parts(monkeypatch):
    numbers = np.random.default_rng(0).integers(0, 65536, (50, 7), np.int32)
    whole = to_bytes(numbers)
    monkeypatch.setattr("semivl_cli.data.read.brightness._ROWS", 20)
    assert np.array_equal(to_bytes(numbers), whole)


def test_less_than_a_sixteenth_is_faint():
    assert is_faint(np.array([[30_000, 34_095]], np.uint16))
    assert not is_faint(np.array([[30_000, 34_096]], np.uint16))
    assert not is_faint(np.array([[30_000, 34_095]], np.uint16), (30_000, 34_095))
    assert is_faint(np.array([[0.02, np.nan, 0.05]]))
    assert is_faint(np.array([[np.nan, np.inf]]))
    assert not is_faint(np.array([[7, 8]], np.uint8))
