"""The lines of TOML values, held against `tomllib` on files that hypothesis writes."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.concepts.toml_lines import line_of, lines_in, parse_toml

TEXT = """\
# a comment with [brackets] and "quotes"
title = "a # b"
long = \"\"\"
two
lines ""\"\"\"
raw = '''
[[no table]]
'''
day = 1979-05-27 07:32:00Z
a . "b c" = { d = 1, e = ["]", '}'] }

[[class]]
name = "x"
list = [  # why
  1,
  [2, 3],  # and ], here
  "\\"",
]
[class.inner]
key = 1
[[class]]
[class.inner]
key = 2
[published]
"tv/monitor" = "tvmonitor"
"""


def test_lines_of_every_kind_of_value():
    lines = lines_in(TEXT)
    expected = {
        ("title",): 2,
        ("long",): 3,
        ("raw",): 6,
        ("day",): 9,
        ("a",): 10,
        ("a", "b c"): 10,
        ("a", "b c", "d"): 10,
        ("a", "b c", "e", 1): 10,
        ("class",): 12,
        ("class", 0): 12,
        ("class", 0, "name"): 13,
        ("class", 0, "list"): 14,
        ("class", 0, "list", 0): 15,
        ("class", 0, "list", 1, 1): 16,
        ("class", 0, "list", 2): 17,
        ("class", 0, "inner"): 19,
        ("class", 0, "inner", "key"): 20,
        ("class", 1): 21,
        ("class", 1, "inner"): 22,
        ("class", 1, "inner", "key"): 23,
        ("published",): 24,
        ("published", "tv/monitor"): 25,
    }
    assert {path: lines[path] for path in expected} == expected


def test_a_value_that_is_not_there_has_the_line_of_what_is_around_it():
    lines = lines_in(TEXT)
    assert line_of(("class", 1, "color"), lines) == 21
    assert line_of(("nothing", "here"), lines) == 1


KEYS = st.sampled_from(["a", "b-1", "c d", "class", 'q"uote', "ü.#[", ""])
SCALARS = st.one_of(
    st.integers(-(2**60), 2**60), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


def written(value, newline):
    """Write a value as TOML; lists over several lines."""
    if isinstance(value, list):
        return "[" + "".join(f"{newline}{written(item, newline)}," for item in value) + f"{newline}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {written(item, newline)}" for key, item in value.items()) + "}"
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def quoted(text):
    return (
        '"' + "".join(f"\\U{ord(sign):08x}" if not sign.isprintable() or sign in '"\\' else sign for sign in text) + '"'
    )


def paths(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(item, (*path, key))


@settings(deadline=None)
@given(
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=3),
    st.sampled_from(["\n", "\r\n", "\n# note ]\n  "]),
)
def test_every_value_that_tomllib_finds_has_a_line(top, tables, newline):
    top.pop("table", None)
    lines_of_file = [f"{quoted(key)} = {written(value, newline)}" for key, value in top.items()]
    for table in tables:
        lines_of_file += [
            "[[table]]",
            *(f"  {quoted(key)}\t= {written(value, newline)}" for key, value in table.items()),
        ]
    text = "\n".join(lines_of_file)
    values, lines = parse_toml(text), lines_in(text)
    assert values == top | ({"table": tables} if tables else {})
    assert set(paths(values)) == set(lines)
    split = text.replace("\r\n", "\n").split("\n")
    for path, line in lines.items():
        if path and isinstance(path[-1], str) and path != ("table",):
            assert quoted(path[-1]) in split[line - 1]


def test_classes_of_one_table_keep_apart():
    lines = lines_in("[[a]]\n[[a.b]]\nc = 1\n[[a.b]]\nc = 2\n[[a]]\n[[a.b]]\nc = 3\n")
    found = {path: line for path, line in lines.items() if path[-1:] == ("c",)}
    assert found == {("a", 0, "b", 0, "c"): 3, ("a", 0, "b", 1, "c"): 5, ("a", 1, "b", 0, "c"): 8}
