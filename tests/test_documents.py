import pytest
from hypothesis import given
from hypothesis import strategies as st

from semivl_cli.documents import Document, Id, load_json, load_toml, load_yaml, parse_json, read_json
from semivl_cli.errors import InputError


class Part(Document):
    image_id: Id
    points: list[list[float]] | str = ""


class Whole(Document):
    parts: list[Part]


def test_what_is_right_is_read_and_ids_are_numbers_however_they_are_written():
    whole = parse_json('{"parts": [{"image_id": "7", "else": 1}, {"image_id": "a", "points": [[1, 2.5]]}]}', Whole, "a")
    assert [part.image_id for part in whole.parts] == [7, "a"]
    assert whole.parts[1].points == [[1.0, 2.5]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"parts": [{}]}', r"a\.json: parts\[0\]: expected an entry with image_id"),
        ('{"parts": [{"image_id": 1.5}]}', r"parts\[0\]\.image_id: expected a whole number or a string, got 1\.5"),
        ('{"parts": [{"image_id": 1, "points": [[NaN]]}]}', r"parts\[0\]\.points\[0\]\[0\]: expected .*, got nan"),
        ('{"parts": [{"image_id": true}]}', r"parts\[0\]\.image_id: expected .*, got True"),
        ("[]", r"a\.json: .*expected a table of keys, got a list"),
        ("[" * 100_000, "nested without end"),
        ("9" * 5000, "thousands of digits"),
        ("", "not JSON"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(text, says):
    with pytest.raises(InputError, match=says) as refused:
        parse_json(text, Whole, "a.json")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_key_that_stands_twice_in_yaml_is_refused():
    with pytest.raises(InputError, match=r"x\.yaml: not YAML: line 3: the key '0' is there twice"):
        load_yaml("names:\n  0: car\n  0: bus\n", "x.yaml")
    assert load_yaml("a: {0: x}\nb: {0: y, '0': z}\n", "x.yaml") == {"a": {0: "x"}, "b": {0: "y", "0": "z"}}


def test_a_key_that_stands_twice_in_an_object_of_json_is_refused():
    with pytest.raises(InputError, match=r"x\.json: not JSON: the key 'a' is twice in one object"):
        load_json('[{"b": {"a": 1, "c": 2, "a": 1}}]', "x.json")
    assert load_json('[{"a": {"a": 1}}, {"a": 2}]', "x.json") == [{"a": {"a": 1}}, {"a": 2}]


@pytest.mark.parametrize("key", ["a", '"a b"', "'a'"])
def test_toml_has_no_tables_within_tables_without_end(key):
    for text in (".".join([key] * 50_000) + " = 1", "[" + " . ".join([key] * 50_000) + "]"):
        with pytest.raises(InputError, match=r"x is not valid TOML: it is nested without end"):
            load_toml(text, "x")
    short = ".".join([key] * 100) + " = 1\nb = " + str([0.5] * 1000)
    assert load_toml(short, "x")["b"] == [0.5] * 1000


def test_yaml_has_no_aliases_no_dates_and_no_end_of_nesting():
    assert load_yaml("names: [2024-01-01, 1]", "a") == {"names": ["2024-01-01", 1]}
    for text in ("a: &x [1]\nb: *x", "[" * 5000, "? [1]\n: 2", "\t- a: b:\n c"):
        with pytest.raises(InputError, match="a: not YAML"):
            load_yaml(text, "a")


def test_half_a_character_is_refused_and_a_path_that_looks_like_one_is_not():
    for text in (r'{"a": ["\ud83d"]}', r'{"\udE00": 1}', r'["\ude00\ud83d"]'):
        for load in (load_json, load_yaml):
            with pytest.raises(InputError, match=r"a: .* holds half a character"):
                load(text, "a")
    assert load_json(r'["\udcff7.png"]', "a") == ["\udcff7.png"]  # a name that is no UTF-8
    assert load_json(r'["\ud83d\ude00", "C:\\ud8", "\uD7FF"]', "a") == ["\U0001f600", r"C:\ud8", "\ud7ff"]


def test_a_file_that_is_not_there_or_too_large_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "none.json", Whole)
    (tmp_path / "large.json").write_bytes(b" " * (1 << 20) + b"[]")
    monkeypatch.setenv("SEMIVL_MAX_DOCUMENT_MIB", "1")
    with pytest.raises(InputError, match="SEMIVL_MAX_DOCUMENT_MIB"):
        read_json(tmp_path / "large.json", Whole)


@given(st.binary(max_size=200))
def test_bytes_are_read_or_refused_in_one_line(data):
    for load in (load_json, load_yaml, load_toml):
        try:
            load(data, "a")
        except InputError as error:
            assert "\n" not in str(error)
