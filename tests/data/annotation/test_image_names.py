import pytest
from hypothesis import given
from hypothesis import strategies as st

from semivl_cli.data.annotation.image_names import ImageNames


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("7.jpg", ("day1/7",)),
        ("photos/day1/7.jpg", ("day1/7",)),
        ("C:\\photos\\day1\\7.png", ("day1/7",)),
        ("images/8.jpg", ("day1/8", "day2/8")),
        ("day2/8", ("day2/8",)),
        ("day2/7.jpg", ()),
        ("day1/images/8.jpg", ("day1/8",)),
        ("frame.001.jpg", ("frame.001",)),
        ("frame.001", ("frame.001",)),
        ("9.jpg", ("9",)),
        ("day3/9.jpg", ("9",)),
        ("", ()),
        ("nothing.jpg", ()),
    ],
)
def test_a_name_means_the_image_whose_path_it_ends_or_that_ends_it(name, found):
    names = ImageNames(["day1/7", "day1/8", "day2/8", "frame.001", "9"])
    assert names.find(name) == found


@given(
    st.lists(st.text("abc/", min_size=1).filter(lambda name: all(name.split("/"))), unique=True),
    st.text("abc/", max_size=9),
)
def test_every_image_is_found_by_its_own_id(ids, stranger):
    names = ImageNames(ids)
    assert all(names.find(f"{name}.jpg") == (name,) for name in ids)
    assert set(names.find(stranger)) <= set(ids)
