"""What a definition holds, and what stands for what its file leaves out."""

import pytest
from pydantic import ValidationError

from semivl_cli.concepts.schema import Definition, parse_color

CUP = {"name": "cup", "color": "#Ff0080"}
PAN = {"name": "pan", "color": [0, 1, 255], "concepts": ["pan", "wok"]}


def test_defaults():
    definition = Definition.model_validate({"title": "Kitchen", "class": [CUP]})
    assert definition.source is None
    assert definition.templates == ["a photo of a {}"]
    assert definition.published == {}
    (cup,) = definition.classes
    assert (cup.guideline, cup.concepts, cup.excludes) == (None, ["cup"], [])


def test_names_and_colors_follow_the_order_of_the_file():
    definition = Definition.model_validate({"title": "Kitchen", "class": [PAN, CUP]})
    assert definition.names == ("pan", "cup")
    assert definition.colors == ((0, 1, 255), (255, 0, 128))


def test_published_spellings_change_what_is_read_and_no_name():
    published = {"pan": "fryingpan", "wok": "wokk"}
    definition = Definition.model_validate({"title": "Kitchen", "class": [PAN, CUP], "published": published})
    respelled = definition.respelled()
    assert respelled.names == definition.names == ("pan", "cup")
    assert [item.word for item in respelled.classes] == ["fryingpan", "cup"]
    assert respelled.classes[0].concepts == ["pan", "wokk"]  # the key is the name of a class: its concept stays
    assert [item.word for item in definition.classes] == ["pan", "cup"]
    assert definition.classes[0].concepts == ["pan", "wok"]


def test_a_definition_survives_json():
    definition = Definition.model_validate({"title": "Kitchen", "class": [PAN, CUP], "published": {"wok": "wokk"}})
    assert Definition.model_validate_json(definition.model_dump_json(by_alias=True)) == definition


@pytest.mark.parametrize(
    "value", ["red", "#ff00", "ff0000", "#gg0000", [1, 2], [1, 2, 256], [1, 2, -1], [1, 2, 3.0], None, 7]
)
def test_what_is_no_color_is_refused(value):
    with pytest.raises(ValueError, match="a colour is written"):
        parse_color(value)


@pytest.mark.parametrize("extra", [{"colour": "#000000"}, {"name": 7}, {"concepts": "cup"}, {"color": "red"}])
def test_nothing_is_converted_and_nothing_unknown_accepted(extra):
    with pytest.raises(ValidationError):
        Definition.model_validate({"title": "Kitchen", "class": [CUP | extra]})
