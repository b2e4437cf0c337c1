import re
import unicodedata
from base64 import urlsafe_b64encode
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from semivl_cli.data.annotation.image_names import ImageNames

FILE_NAMES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\") | st.just(" "), min_size=1)


def django(name):
    """Rename a file as Django's `get_valid_filename` does."""
    return re.sub(r"(?u)[^-\w.]", "", name.strip().replace(" ", "_"))


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
        ("day1/img/8.jpg", ("day1/8",)),
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


def test_images_of_one_name_in_many_folders_are_told_apart_by_these():
    names = ImageNames([f"day{number}/rgb" for number in range(9)])
    assert names.find("photos/day3/rgb.png") == ("day3/rgb",)
    assert names.find("photos/Day3/RGB.png") == ("day3/rgb",)
    assert names.find("day10/rgb.png") == ()
    assert names.find("rgb.png") == tuple(f"day{day}/rgb" for day in range(9))


@pytest.mark.parametrize(
    ("name", "ids", "found"),
    [
        ("20%20wet.jpg", ["20%20wet", "20 wet"], ["20%20wet"]),
        ("20%20wet.jpg", ["20 wet"], ["20 wet"]),
        ("30%25dry.jpg", ["30%25dry"], ["30%25dry"]),
        ("a#1.jpg", ["a#1", "a"], ["a#1"]),
        ("why?.jpg", ["why?", "why"], ["why?"]),
        ("a?.jpg", ["a"], []),
        ("\u00dcbung.jpg", ["U\u0308bung"], ["U\u0308bung"]),
        ("U\u0308bung.jpg", ["\u00dcbung"], ["\u00dcbung"]),
        ("\u00dcbung.jpg", ["U\u0308bung", "\u00dcbung"], ["\u00dcbung"]),
        ("IMG_1.JPG", ["img_1"], ["img_1"]),
        ("IMG_1.JPG", ["img_1", "Img_1"], ["img_1", "Img_1"]),
        ("img_1.jpg", ["img_1", "Img_1"], ["img_1"]),
        ("Day1/A.jpg", ["day1/a", "day2/a"], ["day1/a"]),
        ("img/7.jpg", ["img/7", "7"], ["img/7"]),
    ],
)
def test_a_name_is_first_what_is_written_then_accents_and_case_are_forgiven(name, ids, found):
    assert ImageNames(ids).find(name) == tuple(found)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("https://x.org/photos/day1/7%201.jpg?token=3#top", "day1/7 1"),
        ("http://[::1/day1/7 1.jpg", "day1/7 1"),
        ("s3://bucket/photos/day1/7 1.jpg", "day1/7 1"),
        ("gs://bucket/b.jpg", "b"),
        ("s3://bucket/c#1.jpg", "c#1"),
        ("https://x.org/image/b?format=jpg", "b"),
        ("/data/local-files/?d=photos/day1/7%201.jpg", "day1/7 1"),
        ("/data/local-files/?d=photos%5Cday1%5C7+1.jpg", "day1/7 1"),
        ("http://localhost:8080/data/local-files/?d=b.jpg&x=1", "b"),
        ("/storage-data/uploaded/?filepath=upload/3/e875f554-b.jpg", "b"),
        (f"/tasks/3/presign/?fileuri={urlsafe_b64encode(b's3://bucket/day1/7 1.jpg').decode()}", "day1/7 1"),
        ("/data/local-files/?d=", None),
        ("/tasks/3/presign/?fileuri=!!!", None),
    ],
)
def test_an_address_means_the_file_it_leads_to(name, found):
    assert ImageNames(["day1/7 1", "b", "c", "c#1"]).find(name) == ((found,) if found else ())


LONG = "a view of the river from the second bridge on the left side in the early morning of the first day of spring"
CUT = f"e875f554-{django(LONG)[:70]}_AbC1234.jpg"


@pytest.mark.parametrize(
    ("name", "ids", "found"),
    [
        ("/data/upload/3/e875f554-a.jpg", ["a"], ["a"]),
        ("/data/upload/3/a.jpg", ["day1/a"], ["day1/a"]),
        ("../../upload/3/e875f554-a.jpg", ["day1/a"], ["day1/a"]),
        ("images/5ab1c2d3__e875f554-a.jpg", ["a"], ["a"]),
        ("e875f554-a", ["a"], ["a"]),
        ("e875f554-a.jpg", ["e875f554-a", "a"], ["e875f554-a"]),
        ("e875f554-a.jpg", ["day1/a", "day2/a"], ["day1/a", "day2/a"]),
        ("e875f554-IMG_1.jpg", ["IMG (1)"], ["IMG (1)"]),
        ("e875f554-IMG_1.jpg", ["IMG (1)", "IMG_1"], ["IMG (1)", "IMG_1"]),
        ("e875f554-scan_78.jpg", ["scan 7+8"], ["scan 7+8"]),
        ("e875f554-%C3%A9t%C3%A9.jpg", ["\u00e9te\u0301"], ["\u00e9te\u0301"]),
        ("e875f554-Ubung.jpg", ["U\u0308bung"], ["U\u0308bung"]),
        ("e875f554-img_1.jpg", ["IMG (1)"], ["IMG (1)"]),
        ("e875f554-IMG_1_AbC1234.jpg", ["IMG (1)"], ["IMG (1)"]),
        ("IMG_1_AbC1234.jpg", ["IMG_1"], []),
        ("e875f554-IM_AbC1234.jpg", ["IMG"], []),
        ("20240131-a.jpg", ["a"], []),
        (CUT, [LONG, "a view"], [LONG]),
        (CUT, [LONG, f"{LONG} 2"], [LONG, f"{LONG} 2"]),
    ],
)
def test_an_upload_to_label_studio_means_the_file_that_was_uploaded(name, ids, found):
    assert ImageNames(ids).find(name) == tuple(found)


@given(st.lists(st.text("abcA%2/ ", min_size=1).filter(lambda name: all(name.split("/"))), unique=True), st.text())
def test_every_image_is_found_by_its_own_id_and_no_name_means_what_is_not_there(ids, stranger):
    names = ImageNames(ids)
    assert all(names.find(f"{name}.jpg") == (name,) for name in ids)
    assert set(names.find(stranger)) <= set(ids)


@given(FILE_NAMES, st.lists(FILE_NAMES, max_size=3))
def test_what_is_uploaded_is_found_by_what_label_studio_calls_it_or_not_told_apart(name, others):
    renamed = django(f"e875f554-{name}.jpg")
    assume(django(f"{name}.jpg") != ".jpg")
    names = ImageNames({name, *others})
    for written in (f"/data/upload/3/{quote(renamed)}", f"../../upload/3/{renamed}", f"labels/{renamed[:-4]}"):
        found = names.find(written)
        assert name in found or f"e875f554-{name}" in others
        assert all(django(one) == django(name) for one in found) or f"e875f554-{name}" in others


@given(FILE_NAMES)
def test_a_name_survives_disks_that_decompose_and_servers_that_escape(name):
    assume("%" not in name and "?" not in name)
    for form in ("NFC", "NFD"):
        names = ImageNames([f"day1/{unicodedata.normalize(form, name)}"])
        for written in ("NFC", "NFD"):
            text = unicodedata.normalize(written, name)
            assert names.find(f"day1/{text}.jpg")
            assert names.find(f"https://x.org/day1/{quote(text)}.jpg?x=1")
