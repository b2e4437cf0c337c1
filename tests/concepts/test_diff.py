"""What changed in meaning between two definitions."""

import pytest

from semivl_cli.concepts.diff import Change, diff
from semivl_cli.concepts.load import load_definition, parse_definition, shipped

BEFORE = """
title = "Rooms"
[[class]]
name = "background"
color = "#000000"
concepts = ["wall", "bench"]
[[class]]
name = "chair"
color = "#ff0000"
guideline = "chair, not bench"
concepts = ["chair", "stool"]
excludes = ["bench"]
[[class]]
name = "sofa"
color = "#00ff00"
concepts = ["sofa", "couch"]
[published]
"couch" = "cuch"
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('["wall", "bench"]', '["Wall", "bench"]', []),
        ('"Rooms"', '"Halls"', []),
        (
            'concepts = ["wall", "bench"]\n[[class]]\nname = "chair"\n',
            'concepts = ["wall", "bench", "stool"]\n[[class]]\nname = "chair"\n',
            [Change(kind="concept-added", concept="stool", after="background")],
        ),
        ('["wall", "bench"]', '["bench"]', [Change(kind="concept-removed", concept="wall", before="background")]),
        ('"#00ff00"', "[0, 0, 255]", [Change(kind="color", class_name="sofa", before="#00ff00", after="#0000ff")]),
        (
            'guideline = "chair, not bench"\n',
            "",
            [Change(kind="guideline", class_name="chair", before="chair, not bench")],
        ),
        ('excludes = ["bench"]\n', "", [Change(kind="exclude-removed", class_name="chair", before="bench")]),
        (
            'excludes = ["bench"]',
            'excludes = ["bench", "wall"]',
            [Change(kind="exclude-added", class_name="chair", after="wall")],
        ),
        (
            'title = "Rooms"',
            'title = "Rooms"\ntemplates = ["a {}"]',
            [Change(kind="template-removed", before="a photo of a {}"), Change(kind="template-added", after="a {}")],
        ),
        ('"couch" = "cuch"', "", [Change(kind="published", concept="couch", before="cuch")]),
        ('name = "sofa"', 'name = "settee"', [Change(kind="class-renamed", before="sofa", after="settee")]),
        (
            '[[class]]\nname = "sofa"\ncolor = "#00ff00"\nconcepts = ["sofa", "couch"]\n',
            '[[class]]\nname = "door"\ncolor = "#0000ff"\nconcepts = ["door", "couch"]\n',
            [
                Change(kind="class-removed", before="sofa"),
                Change(kind="class-added", after="door"),
                Change(kind="concept-moved", concept="couch", before="sofa", after="door"),
            ],
        ),
    ],
)
def test_one_change(old, new, expected):
    assert old in BEFORE
    after = parse_definition(BEFORE.replace(old, new), "after")
    assert diff(parse_definition(BEFORE, "before"), after) == expected


def test_a_concept_moved_to_the_background():
    after = BEFORE.replace('["wall", "bench"]', '["wall", "bench", "stool"]').replace('["chair", "stool"]', '["chair"]')
    (change,) = diff(parse_definition(BEFORE, "before"), parse_definition(after, "after"))
    assert change == Change(kind="concept-moved", concept="stool", before="chair", after="background")
    assert change.sentence == '"stool" moved from chair to background'


def test_another_order_changes_ids():
    head, background, chair, sofa = BEFORE.split("[[class]]")
    sofa, published = sofa.split("[published]")
    after = "[[class]]".join([head, background, sofa, chair]) + "[published]" + published
    (change,) = diff(parse_definition(BEFORE, "before"), parse_definition(after, "after"))
    assert (change.kind, change.before, change.after) == ("class-order", "1 chair, 2 sofa", "2 chair, 1 sofa")


@pytest.mark.parametrize("name", shipped())
def test_nothing_changes_between_a_file_and_itself(name):
    assert diff(load_definition(name), load_definition(name)) == []


def test_the_way_back_undoes_what_came_and_went():
    voc, gpt = load_definition("voc"), load_definition("voc-gpt")
    there, back = diff(voc, gpt), diff(gpt, voc)
    added = {(change.concept, change.after) for change in there if change.kind == "concept-added"}
    removed = {(change.concept, change.before) for change in back if change.kind == "concept-removed"}
    assert added == removed
    moved = {(change.concept, change.before, change.after) for change in there if change.kind == "concept-moved"}
    assert ("stool", "background", "chair") in moved
    assert moved == {(change.concept, change.after, change.before) for change in back if change.kind == "concept-moved"}
    assert all(change.sentence for change in there + back)
