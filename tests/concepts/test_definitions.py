"""The shipped definitions, held against the paper's tables by hand-picked facts and against the published texts."""

import json
import os
from pathlib import Path

import pytest

from semivl_cli.concepts.load import definition_text, load_definition, shipped
from semivl_cli.concepts.prompts import texts
from semivl_cli.concepts.validate import validate

EXPECTED_WARNINGS = {"voc-gpt": ["shared-concept"]}  # Table S5 has "bike" for bicycle and for motorbike


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_definition_is_fine(name):
    problems = validate(definition_text(name).encode(), name)
    assert [problem.code for problem in problems] == EXPECTED_WARNINGS.get(name, [])


@pytest.mark.parametrize(
    ("name", "classes", "concepts"),
    [
        ("voc", 21, 98),
        ("voc-gpt", 21, 105),
        ("voc-dictionary", 21, 41),
        ("cityscapes", 19, 54),
        ("coco", 81, 81),
        ("ade20k", 150, 150),
    ],
)
def test_sizes(name, classes, concepts):
    definition = load_definition(name)
    assert len(definition.classes) == classes
    assert len(texts(definition, "concepts").texts) == concepts
    assert definition.templates == ["a photo of a {}"]


def by_name(name):
    return {item.name: item for item in load_definition(name).classes}


def test_facts_of_table_s2_and_s4():
    voc = by_name("voc")
    assert len(voc["background"].concepts) == 45
    assert voc["background"].concepts[:2] == ["background", "bed"]
    assert voc["background"].concepts[-1] == "vehicle interior"
    assert {"wolves", "stool", "flowers in a vase", "go-cart"} < set(voc["background"].concepts)
    assert voc["chair"].concepts == ["chair", "armchair", "deckchair"]
    assert voc["chair"].excludes == ["stool", "wheelchair"]
    assert voc["car"].concepts == ["car", "van", "large family car", "realistic toy car"]
    assert voc["dining table"].concepts == ["dining table", "table for eating at"]
    assert voc["tv/monitor"].concepts == ["tv", "monitor", "standalone screen"]
    assert voc["sofa"].concepts == ["sofa"]
    assert voc["dog"].guideline == "domestic dog (not wolves etc.)"
    assert voc["sheep"].guideline == "sheep but not a goat"
    assert voc["background"].guideline == "background"
    assert all(item.guideline for item in voc.values())


def test_facts_of_table_s3():
    cityscapes = by_name("cityscapes")
    assert cityscapes["wall"].concepts == ["individual standing wall, which is not part of a building"]
    assert cityscapes["building"].concepts[1] == "skyscraper"
    assert cityscapes["car"].concepts == ["car", "jeep", "SUV", "van"]
    assert cityscapes["person"].concepts[-1] == "person sitting on a chair"
    assert cityscapes["train"].concepts == ["train", "tram"]


def test_facts_of_table_s5():
    gpt = by_name("voc-gpt")
    assert gpt["background"].concepts == ["background", "scene", "environment", "setting", "context"]
    assert gpt["dining table"].concepts[0] == "diningtable"
    assert gpt["dog"].concepts[-1] == "man's best friend"
    assert "stool" in gpt["chair"].concepts
    assert all(len(item.concepts) == 5 for item in gpt.values())


def test_facts_of_table_s6():
    dictionary = by_name("voc-dictionary")
    assert dictionary["background"].concepts == ["background"]
    assert dictionary["boat"].concepts == [
        "boat",
        "a vessel for travelling over water, propelled by oars, sails, or an engine",
    ]
    assert all(item.concepts[0] == item.name for item in dictionary.values())
    assert all(len(item.concepts) == 2 for name, item in dictionary.items() if name != "background")


@pytest.mark.parametrize(
    ("name", "class_id", "class_name", "color"),
    [
        ("voc", 20, "tv/monitor", (0, 64, 128)),
        ("voc-gpt", 9, "chair", (192, 0, 0)),
        ("voc-dictionary", 15, "person", (192, 128, 128)),
        ("cityscapes", 0, "road", (128, 64, 128)),
        ("cityscapes", 18, "bicycle", (119, 11, 32)),
        ("coco", 0, "background", (0, 0, 0)),
        ("coco", 80, "toothbrush", None),
        ("ade20k", 0, "wall", (120, 120, 120)),
        ("ade20k", 48, "skyscraper", (140, 140, 200)),
        ("ade20k", 149, "flag", None),
        ("camvid", 4, "pavement", (60, 40, 222)),
        ("camvid", 10, "bicyclist", (0, 128, 192)),
    ],
)
def test_names_and_colors(name, class_id, class_name, color):
    item = load_definition(name).classes[class_id]
    assert item.name == class_name
    assert color is None or item.color == color


def test_the_variants_of_voc_differ_in_words_alone():
    voc = load_definition("voc")
    for other in (load_definition("voc-gpt"), load_definition("voc-dictionary")):
        assert other.names == voc.names
        assert other.colors == voc.colors


PUBLISHED = [
    ("voc-names", "voc", "name"),
    ("voc-names", "voc-gpt", "name"),
    ("voc-names", "voc-dictionary", "name"),
    ("voc-concepts", "voc", "concepts"),
    ("voc-concept-means", "voc", "name"),  # one mean a class, listed by the class's name
    ("cityscapes-names", "cityscapes", "name"),
    ("cityscapes-concepts", "cityscapes", "concepts"),
    ("cityscapes-concept-means", "cityscapes", "name"),
    ("coco-names", "coco", "name"),
    ("ade20k-names", "ade20k", "name"),
]


@pytest.mark.parametrize(("file", "definition", "variant"), PUBLISHED)
def test_published_spellings_give_the_published_texts(file, definition, variant):
    path = published_folder() / f"{file}.safetensors"
    found = texts(load_definition(definition, "published"), variant)
    assert list(found.texts) == json.loads(metadata(path)["texts"])


def test_every_published_text_list_is_proven():
    assert {path.stem for path in published_folder().glob("*.safetensors")} == {file for file, _, _ in PUBLISHED}


def published_folder():
    if "SEMIVL_TEST_DATA" not in os.environ:
        pytest.skip("the published texts are read from $SEMIVL_TEST_DATA/text_embeddings, which is not set")
    return Path(os.environ["SEMIVL_TEST_DATA"]) / "text_embeddings"


def metadata(path):
    """Read the metadata at the head of a safetensors file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length))["__metadata__"]
