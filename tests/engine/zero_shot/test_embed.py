"""Text vectors as a file: what is kept, when it is used, and that a damaged file is not."""

import functools
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from semivl_cli.concepts.load import load_definition, parse_definition
from semivl_cli.data.registry import open_dataset
from semivl_cli.engine.assemble import clip_of
from semivl_cli.engine.text_vectors import embed_classes, embed_concepts
from semivl_cli.engine.zero_shot import embed as module
from semivl_cli.engine.zero_shot.embed import check_target, embed, write_vectors
from semivl_cli.engine.zero_shot.recipe import zero_shot_config
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import cache_folder
from semivl_cli.reporter import Silence


class Notes(Silence):
    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


SHAPES = zero_shot_config(definition="shapes")


@functools.cache
def tower_of_shapes():
    return clip_of(SHAPES, open_dataset("shapes"), Silence())


@pytest.fixture(autouse=True)
def towers(monkeypatch):
    """Count in a list how often a tower is asked for; it is loaded once for all tests."""
    loaded = []

    def load(config, *_):
        loaded.append(config.model.weights)
        return tower_of_shapes()

    monkeypatch.setattr(module, "clip_of", load)
    return loaded


def embedded():
    return embed(SHAPES, load_definition("shapes"), Silence())


def test_the_vectors_are_those_of_training():
    definition, found, tower = load_definition("shapes"), embedded(), tower_of_shapes().text
    expected, owners = embed_concepts(tower, definition)
    torch.testing.assert_close(found.tensors["concepts"], expected)
    assert json.loads(found.metadata["class_of_concept"]) == list(owners)
    for text in ("name", "guideline", "mean"):
        torch.testing.assert_close(found.tensors[text], embed_classes(tower, definition, text))


def test_the_second_time_needs_no_tower(towers):
    first, second = embedded(), embedded()
    assert (first.cached, second.cached, len(towers)) == (False, True, 1)
    assert first.metadata == second.metadata
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)


def test_other_words_templates_or_weights_are_other_vectors(towers):
    definition = load_definition("shapes")
    first = definition.classes[0]
    fewer = [first.model_copy(update={"concepts": first.concepts[1:]}), *definition.classes[1:]]
    random = SHAPES.model_copy(
        update={"model": SHAPES.model.model_copy(update={"clip": "ViT-B-16", "weights": "random"})}
    )
    cases = [
        (SHAPES, definition),
        (SHAPES, definition.model_copy(update={"classes": fewer})),
        (SHAPES, definition.model_copy(update={"templates": ["a {}"]})),
        (random, definition),
        (random.model_copy(update={"seed": 1}), definition),
    ]
    for number, (config, words) in enumerate(cases, 1):
        assert not embed(config, words, Silence()).cached
        assert len(towers) == number
    for config, words in cases:
        assert embed(config, words, Silence()).cached
    assert embed(SHAPES, definition.model_copy(update={"title": "other"}), Silence()).cached


def _cut(content):
    return content[: len(content) // 2]


def _flip(content):
    return content[:-1] + bytes([content[-1] ^ 1])


def _other_type(content):
    return content.replace(b'"F32"', b'"I32"')


@pytest.mark.parametrize("damage", [_cut, _flip, _other_type, lambda _: b"", lambda _: b"\xff" * 200])
def test_a_damaged_file_is_made_anew(damage):
    first = embedded()
    [path] = cache_folder("text").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    again = embedded()
    assert not again.cached and torch.equal(first.tensors["concepts"], again.tensors["concepts"])
    assert embedded().cached and [*cache_folder("text").iterdir()] == [path]


def test_a_cache_that_cannot_be_written_is_said():
    cache_folder("text").parent.mkdir(parents=True)
    cache_folder("text").write_text("a file stands where the folder belongs")
    notes = Notes()
    found = embed(SHAPES, load_definition("shapes"), notes)
    assert not found.cached
    assert len(notes.notes) == 1 and str(cache_folder("text")) in notes.notes[0]


def test_the_file_says_what_it_holds(tmp_path):
    found = embedded()
    write_vectors(tmp_path / "new" / "vectors.safetensors", found)
    definition = load_definition("shapes")
    with safe_open(tmp_path / "new" / "vectors.safetensors", framework="pt") as file:
        metadata = file.metadata()
        assert torch.equal(file.get_tensor("concepts"), found.tensors["concepts"])
    assert json.loads(metadata["classes"]) == list(definition.names)
    assert json.loads(metadata["concepts"]) == [text for item in definition.classes for text in item.concepts]
    assert len(json.loads(metadata["prompts"])["concepts"]) == len(found.tensors["concepts"])
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        write_vectors(tmp_path / "file" / "vectors.safetensors", found)


def test_classes_of_the_same_words_can_be_embedded():
    """Only what reads them apart, a decoder or a guide, must refuse them."""
    definition = load_definition("shapes")
    words = definition.classes[1].concepts
    file = 'title = "Twins"\n' + "".join(
        f'[[class]]\nname = "{name}"\ncolor = "#00000{i}"\nconcepts = {json.dumps(words)}\n'
        for i, name in enumerate(definition.names[1:3])
    )
    found = embed(SHAPES, parse_definition(file, "twins.toml"), Silence())
    assert torch.equal(found.tensors["mean"][0], found.tensors["mean"][1])


def test_nothing_but_text_vectors_is_overwritten(tmp_path):
    out = tmp_path / "v.safetensors"
    check_target(out)
    write_vectors(out, embedded())
    check_target(out)
    (tmp_path / "words.toml").write_text("title = 'mine'")
    (tmp_path / "link").symlink_to("nothing")
    save_file({"weight": torch.zeros(3)}, tmp_path / "model.safetensors", {"semivl": "0.1.0"})
    for name in ("words.toml", "link", "model.safetensors", "."):
        with pytest.raises(InputError, match="holds no text vectors that semivl wrote"):
            check_target(tmp_path / name)
