"""Every kind of broken definition file, with the code and the line that `validate` must report for it."""

from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.concepts.load import parse_definition
from semivl_cli.concepts.problems import CODES, Refused
from semivl_cli.concepts.validate import validate

HEAD = 'title = "Kitchen"\n'
CUP = '[[class]]\nname = "cup"\ncolor = "#ff0000"\n'
PAN = '[[class]]\nname = "pan"\ncolor = "#00ff00"\n'
GOOD = HEAD + CUP + PAN  # lines 1; 2, 3, 4; 5, 6, 7
LONG = "a very long story " * 30

BROKEN = {
    # what is wrong: (file, [(code, severity, line), ...])
    "no end of a string": ('title = "Kitchen\n' + CUP, [("syntax", "error", 1)]),
    "no value": (HEAD + "source =\n" + CUP, [("syntax", "error", 2)]),
    "the same key twice": (HEAD + 'title = "Bath"\n' + CUP, [("syntax", "error", 2)]),
    "no end of a list": (GOOD + 'concepts = ["pan",\n  "pot"\n', [("syntax", "error", 9)]),
    "nested without end": (HEAD + "x = " + "[" * 100_000, [("syntax", "error", 1)]),
    "a number of thousands of digits": (HEAD + "x = " + "9" * 5000, [("syntax", "error", 2)]),
    "latin-1": (GOOD.replace("pan", "Töpfe").encode("latin-1"), [("encoding", "error", 6)]),
    "latin-1 behind a byte order mark": (b"\xef\xbb\xbf#\n\n#\xe9\n", [("encoding", "error", 3)]),
    "UTF-16": (GOOD.encode("utf-16"), [("encoding", "error", 1)]),
    "nothing at all": ("", [("missing-key", "error", 1), ("no-class", "error", 1)]),
    "no title": (CUP, [("missing-key", "error", 1)]),
    "no class": (HEAD, [("no-class", "error", 1)]),
    "an empty list of classes": (HEAD + "class = []\n", [("no-class", "error", 2)]),
    "classes for class": (
        (HEAD + CUP).replace("[[class]]", "[[classes]]"),
        [("unknown-key", "error", 2)],
    ),
    "class is one table": ((HEAD + CUP).replace("[[class]]", "[class]"), [("wrong-type", "error", 2)]),
    "class is a list of texts": (HEAD + 'class = [\n  "cup",\n]\n', [("wrong-type", "error", 3)]),
    "an empty class": (GOOD + "\n[[class]]\n", [("missing-key", "error", 9), ("missing-key", "error", 9)]),
    "no colour": (HEAD + CUP + '[[class]]\nname = "pan"\n', [("missing-key", "error", 5)]),
    "no name": (HEAD + CUP + '[[class]]\ncolor = "#00ff00"\n', [("missing-key", "error", 5)]),
    "an unknown key on top": ('titel = "x"\n' + GOOD, [("unknown-key", "error", 1)]),
    "an unknown key in a class": (GOOD + 'colour = "#0000ff"\n', [("unknown-key", "error", 8)]),
    "an unknown table": (GOOD + "[training]\nsteps = 3\n", [("unknown-key", "error", 8)]),
    "concepts is a text": (GOOD + 'concepts = "pan"\n', [("wrong-type", "error", 8)]),
    "a concept is a number": (GOOD + 'concepts = [\n  "pan",\n  7,\n]\n', [("wrong-type", "error", 10)]),
    "the title is a number": (GOOD.replace('"Kitchen"', "7"), [("wrong-type", "error", 1)]),
    "the name is a date": (GOOD.replace('"pan"', "1979-05-27"), [("wrong-type", "error", 6)]),
    "published is a text": ('published = "pan"\n' + GOOD, [("wrong-type", "error", 1)]),
    "a published spelling is a list": (GOOD + '[published]\npan = ["pen"]\n', [("wrong-type", "error", 9)]),
    "a colour by name": (GOOD.replace('"#00ff00"', '"green"'), [("bad-color", "error", 7)]),
    "a colour of two parts": (GOOD.replace('"#00ff00"', "[0, 255]"), [("bad-color", "error", 7)]),
    "a colour beyond 255": (GOOD.replace('"#00ff00"', "[0, 256, 0]"), [("bad-color", "error", 7)]),
    "a colour of truths": (GOOD.replace('"#00ff00"', "[true, false, true]"), [("bad-color", "error", 7)]),
    "one colour twice": (GOOD.replace('"#00ff00"', "[255, 0, 0]"), [("duplicate-color", "error", 7)]),
    "one name twice": (GOOD.replace('"pan"', '"cup"'), [("duplicate-class", "error", 6)]),
    "no concept": (GOOD + "concepts = []\n", [("empty-class", "error", 8)]),
    "an empty name": (GOOD.replace('"pan"', '" "'), [("empty-text", "error", 6)]),
    "an empty concept": (GOOD + 'concepts = ["pan",\n""]\n', [("empty-text", "error", 9)]),
    "an empty guideline": (GOOD + 'guideline = ""\n', [("empty-text", "error", 8)]),
    "an empty published spelling": (GOOD + '[published]\npan = ""\n', [("empty-text", "error", 9)]),
    "a concept of two classes without names": (
        HEAD + CUP.replace("name", "nom") + 'concepts = ["x"]\n' + PAN.replace("name", "nom") + 'concepts = ["x"]\n',
        [
            *(("missing-key", "error", line) for line in (2, 6)),
            *(("unknown-key", "error", line) for line in (3, 7)),
            ("shared-concept", "warning", 9),
        ],
    ),
    "a concept twice in a class": (GOOD + 'concepts = ["wok", "Wok"]\n', [("repeated-text", "error", 8)]),
    "a concept of two classes": (GOOD + 'concepts = [\n"pan",\n"Cup",\n]\n', [("shared-concept", "warning", 10)]),
    "a shared concept that one excludes": (
        HEAD + CUP + 'concepts = ["cup", "mug"]\nexcludes = ["mug"]\n' + PAN + 'concepts = ["mug"]\n',
        [("excludes-own", "error", 6), ("shared-concept", "error", 10)],
    ),
    "excludes its own": (GOOD + 'concepts = ["pan"]\nexcludes = ["pan"]\n', [("excludes-own", "error", 9)]),
    "excludes what nobody has": (GOOD + 'excludes = [\n  "cup",\n  "cupp",\n]\n', [("excludes-unknown", "error", 10)]),
    "names that differ in case": (
        GOOD.replace('"pan"', '"Cup"'),
        [("look-alike", "warning", 6)],
    ),
    "names that differ in number": (GOOD.replace('"pan"', '"cups"'), [("look-alike", "warning", 6)]),
    "names that differ in a hyphen": (
        HEAD + CUP.replace("cup", "tea-cup") + PAN.replace("pan", "tea cup"),
        [("look-alike", "warning", 6)],
    ),
    "concepts that differ in spelling": (
        HEAD + CUP + 'concepts = ["grey bowl"]\n' + PAN + 'concepts = ["gray bowl"]\n',
        [("look-alike", "warning", 9)],
    ),
    "concepts that differ in a letter": (
        HEAD + CUP + 'concepts = ["skyscraper"]\n' + PAN + 'concepts = ["skyscaper"]\n',
        [("look-alike", "warning", 9)],
    ),
    "no template": ("templates = []\n" + GOOD, [("no-template", "error", 1)]),
    "a template without a place": ('templates = ["a {}",\n"a {0}"]\n' + GOOD, [("no-placeholder", "error", 2)]),
    "a template with two places": ('templates = ["a {} {}"]\n' + GOOD, [("many-placeholders", "warning", 1)]),
    "a list that became one text": (GOOD + 'concepts = ["pan, wok, pot"]\n', [("several-texts", "warning", 8)]),
    "a list that became one text, and one of it is excluded": (
        HEAD + CUP + 'excludes = ["pot", "wok"]\n' + PAN + 'concepts = ["pan, wok, pot"]\n',
        [("several-texts", "warning", 9)],
    ),
    "a list that became one excluded text": (
        GOOD + 'concepts = ["pan"]\nexcludes = ["cup, mug"]\n',
        [("excludes-unknown", "error", 9)],
    ),
    "what a thing is not": (GOOD + 'concepts = ["pan",\n"not a cup",\n"pan without lid"]\n', [
        ("negation", "warning", 9), ("negation", "warning", 10),
    ]),
    "what a class is not": (GOOD.replace('"pan"', '"No cup"'), [("negation", "warning", 6)]),
    "a key that is misspelt where others name its texts": (
        HEAD + CUP + 'excludes = ["wok", "pot"]\n'
        + PAN + 'concept = ["pan", "wok", "pot"]\n[published]\nwok = "wock"\n',
        [("unknown-key", "error", 9)],
    ),
    "a text for a list where others name its texts": (
        HEAD + CUP + 'excludes = ["wok"]\n' + PAN + 'concepts = "pan, wok"\n',
        [("wrong-type", "error", 9)],
    ),
    "classes that are not read and named elsewhere": (
        (GOOD + '[published]\npan = "pen"\n').replace("[[class]]", "[[classes]]"),
        [("unknown-key", "error", 2)],
    ),
    "a colour in other words": (GOOD.replace("color =", "colour =", 1), [("unknown-key", "error", 4)]),
    "a colour without quotation marks": (GOOD.replace('"#00ff00"', "#00ff00"), [("syntax", "error", 7)]),
    "a long concept": (GOOD + f'concepts = [\n"pan",\n"{LONG}"]\n', [("long-prompt", "warning", 10)]),
    "a long guideline": (GOOD + f'guideline = "{LONG}"\n', [("long-prompt", "warning", 8)]),
    "a long template": (
        f'templates = ["a {{}}{LONG}"]\n' + HEAD + CUP,
        [("long-prompt", "warning", 4)],
    ),
    "a published spelling of nothing": (GOOD + '[published]\n"pann" = "pen"\n', [("published-unknown", "error", 9)]),
    "too many classes": (
        HEAD + "".join(f'[[class]]\nname = "{n:x}"\ncolor = [0, 0, {n}]\nconcepts = ["{n:x} q"]\n' for n in range(254))
        + '[[class]]\nname = "last"\ncolor = [1, 0, 0]\n',
        [("too-many-classes", "error", 2 + 4 * 254)],
    ),
    "inline classes": (
        HEAD + 'class = [\n  { name = "cup", color = "#ff0000" },\n  { name = "cup", color = "#00ff00" },\n]\n',
        [("duplicate-class", "error", 4)],
    ),
}  # fmt: skip

FOR_DATASET = {
    "one class too few": (HEAD + CUP, [("class-count", "error", 2)]),
    "one class too many": (GOOD + '[[class]]\nname = "pot"\ncolor = "#0000ff"\n', [("class-count", "error", 2)]),
    "another name": (GOOD.replace('"pan"', '"wok"'), [("class-name", "error", 6)]),
    "another order": (HEAD + PAN + CUP, [("class-name", "error", 6)]),
    "one class missing at the start": (HEAD + PAN, [("class-count", "error", 2)]),
    "one class missing and one misspelt": (
        HEAD + CUP.replace("cup", "cop"),
        [
            ("class-count", "error", 2),
            ("class-name", "error", 3),
        ],
    ),
}


def found(text, dataset_classes=None):
    content = text if isinstance(text, bytes) else text.encode()
    problems = validate(content, "kitchen.toml", dataset_classes=dataset_classes)
    assert all(problem.file == "kitchen.toml" and problem.message and problem.advice for problem in problems)
    assert all("\n" not in problem.message + problem.advice for problem in problems)
    return [(problem.code, problem.severity, problem.line) for problem in problems]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_reported_with_its_code_and_line(name):
    text, expected = BROKEN[name]
    assert sorted(found(text)) == sorted(expected)


@pytest.mark.parametrize("name", BROKEN)
def test_opening_refuses_what_has_an_error_and_nothing_else(name):
    text = BROKEN[name][0]
    content = text if isinstance(text, bytes) else text.encode()
    errors = [problem for problem in validate(content, "kitchen.toml") if problem.severity == "error"]
    if not errors:
        assert parse_definition(content, "kitchen.toml").title == "Kitchen"
        return
    with pytest.raises(Refused) as caught:
        parse_definition(content, "kitchen.toml")
    assert caught.value.errors == errors
    assert str(caught.value).startswith(f"kitchen.toml:{errors[0].line}: {errors[0].message}: {errors[0].advice}")


@pytest.mark.parametrize("name", FOR_DATASET)
def test_a_file_that_does_not_fit_the_dataset_is_reported(name):
    text, expected = FOR_DATASET[name]
    assert found(text) == []
    assert found(text, ["cup", "pan"]) == expected


def test_a_file_that_fits_the_dataset_is_fine():
    assert found(GOOD, ["Cup", "pan"]) == []


def test_every_code_has_a_broken_file():
    seen = {code for _, expected in [*BROKEN.values(), *FOR_DATASET.values()] for code, _, _ in expected}
    no_matter_of_the_content = {"unreadable", "same-vector", "near-concepts"}  # the last two need a CLIP
    assert seen == CODES.keys() - no_matter_of_the_content


@pytest.mark.parametrize(
    "text",
    [GOOD, "\ufeff" + GOOD, GOOD.replace("\n", "\r\n"), GOOD + 'concepts = ["pan", "wok"]\nexcludes = ["cup"]\n'],
)
def test_a_good_file_has_no_problem(text):
    assert found(text) == []


def test_lines_count_windows_line_ends():
    text, expected = BROKEN["excludes what nobody has"]
    assert found("\ufeff" + text.replace("\n", "\r\n")) == expected


def test_all_problems_are_reported_at_once():
    text = 'author = "x"\n[[class]]\nname = "cup"\ncolor = "red"\nconcepts = ["cup", ""]\nexcludes = ["pan"]\n'
    codes = [code for code, _, _ in found(text)]
    assert codes == ["missing-key", "unknown-key", "bad-color", "empty-text", "excludes-unknown"]


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("color = #00ff00", 'color = "..."'),
        ("color = # green", 'color = "..."'),
        ("name = frying pan", 'name = "frying pan"'),
        ("concepts = [pan, wok]", "each text"),
        ("name = “pan”", "straight"),
        ("name = 'pan", "toml.io"),
    ],
)
def test_what_lacks_quotation_marks_is_told_where_they_go(line, advice):
    (problem,) = validate((HEAD + f"[[class]]\n{line}\n").encode(), "kitchen.toml")
    assert (problem.code, problem.line) == ("syntax", 3)
    assert advice in problem.advice


def test_classes_that_are_not_read_are_not_missing():
    assert found(HEAD + "class = 3\n", ("cup", "pan")) == [("wrong-type", "error", 2)]


def test_advice_names_the_nearest():
    (key,) = validate((GOOD + 'colour = "#0000ff"\n').encode(), "kitchen.toml")
    (excluded,) = validate((GOOD + 'excludes = ["cupp"]\n').encode(), "kitchen.toml")
    assert key.advice == 'did you mean "color"?'
    assert excluded.advice == 'did you mean "cup"?'


def test_a_cut_prompt_says_where_it_is_cut():
    text = " ".join(f"word{n}" for n in range(10, 60))  # three tokens each
    (problem,) = validate((GOOD + f'guideline = "{text}"\n').encode(), "kitchen.toml")
    # 77 = two marks, "a photo of a" and 71 tokens of the guideline: 23 words of three and "word" and "3" of the next
    assert "has 156 tokens, CLIP reads 77" in problem.message
    assert problem.message.endswith(' word31 word32 word3"')


def test_signs_that_steer_a_terminal_are_escaped():
    (problem,) = validate((GOOD + '"\\u001b[31m\\n" = 1\n').encode(), "kitchen.toml")
    assert problem.code == "unknown-key"
    assert problem.message.isprintable()


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail(content):
    for problem in validate(content, "kitchen.toml"):
        assert problem.code in CODES
        assert 1 <= problem.line <= content.count(b"\n") + 1


SHIPPED = [item.read_bytes() for item in files("semivl_definitions").iterdir() if item.name.endswith(".toml")]
PARTS = [
    b'"',
    b"[",
    b"]",
    b"=",
    b"\n",
    b"[[class]]\n",
    b"{",
    b"}",
    b"name",
    b"7",
    b"[published]\n",
    b"concepts = []\n",
    b"#",
]


@settings(deadline=None)
@given(
    st.sampled_from(SHIPPED),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), st.sampled_from(PARTS)), max_size=4),
)
def test_no_mutation_of_a_shipped_file_makes_it_fail(content, edits):
    content = content[:3000]
    for place, length, part in edits:
        start = int(place * len(content))
        content = content[:start] + part + content[start + length :]
    for problem in validate(content, "kitchen.toml", dataset_classes=["road", "sky"]):
        assert problem.code in CODES
        assert 1 <= problem.line <= content.count(b"\n") + 1
