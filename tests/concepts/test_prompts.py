"""From a definition to texts and prompts."""

import pytest

from semivl_cli.concepts.load import load_definition
from semivl_cli.concepts.prompts import as_read, prompts, texts, with_prompts
from semivl_cli.concepts.schema import Definition

KITCHEN = Definition.model_validate(
    {
        "title": "Kitchen",
        "class": [
            {"name": "rest", "color": "#000000", "concepts": ["wall", "floors"]},
            {"name": "tea cup", "color": "#000001", "concepts": ["tea cup", "mug"], "guideline": "cup, not bowls"},
            {"name": "pan", "color": "#000002"},
        ],
        "published": {"tea cup": "teacup", "floors": "floor"},
    }
)


@pytest.mark.parametrize(
    ("variant", "published", "expected", "owners"),
    [
        ("name", False, ("rest", "tea cup", "pan"), (0, 1, 2)),
        ("name", True, ("rest", "teacup", "pan"), (0, 1, 2)),
        ("guideline", False, ("rest", "cup, not bowls", "pan"), (0, 1, 2)),
        ("concepts", False, ("wall", "floors", "tea cup", "mug", "pan"), (0, 0, 1, 1, 2)),
        ("concepts", True, ("wall", "floor", "tea cup", "mug", "pan"), (0, 0, 1, 1, 2)),
    ],
)
def test_texts(variant, published, expected, owners):
    found = texts(KITCHEN.respelled() if published else KITCHEN, variant)
    assert found.texts == expected
    assert found.class_of_text == owners


def test_every_template_is_filled_and_other_braces_stay():
    assert prompts("cup", ["a {}", "{} of {name}, {0}"]) == ("a cup", "cup of {name}, {0}")


def test_a_text_with_braces_is_not_filled_again():
    assert prompts("{}", ["a {}"]) == ("a {}",)


def test_clip_sees_neither_case_nor_spacing():
    assert as_read("  Tea \n CUP ") == as_read("tea cup") == "tea cup"


def test_every_class_is_shown_with_its_id_colour_and_prompts():
    chair = with_prompts(load_definition("voc"))["class"][9]
    assert (chair["id"], chair["name"], chair["color"]) == (9, "chair", "#c00000")
    assert chair["prompts"]["concepts"] == ["a photo of a chair", "a photo of a armchair", "a photo of a deckchair"]
    assert chair["prompts"]["name"] == ["a photo of a chair"]
