"""What `validate --weights` says of words that a CLIP confuses: near vectors against a plain loop, and on real ones."""

import json
import math
from itertools import combinations
from statistics import median

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from semivl_cli.concepts.load import load_definition
from semivl_cli.concepts.prompts import texts
from semivl_cli.engine.zero_shot import separability as module
from semivl_cli.engine.zero_shot.embed import TextVectors
from semivl_cli.engine.zero_shot.separability import find_near, indistinct_words
from semivl_cli.errors import InputError
from semivl_cli.reporter import Silence

FILE = b"""title = "Kitchen"

[[class]]
name = "cup"
color = "#ff0000"
concepts = ["mug",
  "beaker"]

[[class]]
name = "pan"
color = "#00ff00"

[[class]]
name = "lid"
color = "#0000ff"
"""
MUG, BEAKER, LID = (1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 0, 1.0)


@pytest.fixture
def kitchen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kitchen.toml").write_bytes(FILE)
    return "kitchen.toml"


@pytest.fixture
def found(kitchen, monkeypatch):
    """Problems of FILE for given vectors of mug, beaker, pan and lid, and of the classes."""

    def found(concepts, classes=((1.0, 0, 0), (0, 1, 0), (0, 0, 1))):
        by_class = {name: unit(torch.tensor(classes)) for name in ("name", "guideline", "mean")}
        vectors = TextVectors(tensors={"concepts": unit(torch.tensor(concepts)), **by_class}, metadata={}, cached=False)
        monkeypatch.setattr(module, "embed", lambda *_: vectors)
        problems = indistinct_words(kitchen, weights=None, dataset=None, reporter=Silence())
        assert all(problem.file == "kitchen.toml" and problem.advice for problem in problems)
        return problems

    return found


def test_words_far_apart_are_fine(found):
    assert found([MUG, BEAKER, (0, 0, 1, 0), LID]) == []


def test_near_concepts_are_a_warning_where_the_second_stands(found):
    (problem,) = found([MUG, BEAKER, (0, 1, 0.2, 0), LID])
    assert (problem.code, problem.severity, problem.line) == ("near-concepts", "warning", 9)
    assert '"pan" (pan)' in problem.message and '"beaker" (cup)' in problem.message and "0.981" in problem.message


def test_the_same_vector_is_an_error(found):
    (problem,) = found([MUG, BEAKER, BEAKER, LID])
    assert (problem.code, problem.severity, problem.line) == ("same-vector", "error", 9)


def test_classes_that_the_decoder_cannot_tell_apart_are_an_error(found):
    (problem,) = found([MUG, BEAKER, (0, 0, 1, 0), LID], classes=((1.0, 0, 0), (1, 0, 0), (0, 0, 1)))
    assert (problem.code, problem.severity, problem.line) == ("same-vector", "error", 9)
    assert "classes pan and cup" in problem.message


def test_a_word_that_the_clip_does_not_know_is_named(kitchen):
    with pytest.raises(InputError, match="not in the vocabulary"):
        indistinct_words(kitchen, weights=None, dataset="shapes", reporter=Silence())


def unit(vectors):
    return F.normalize(vectors, dim=1)


@given(st.integers(0, 10_000), st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_near_pairs_are_those_of_a_plain_loop(seed, owners):
    vectors = unit(torch.randn(len(owners), 16, generator=torch.Generator().manual_seed(seed)).double())
    vectors[len(owners) // 2 :] = unit(vectors[: len(owners) - len(owners) // 2] + 0.2 * vectors[len(owners) // 2 :])
    apart = {
        (i, j): math.dist(vectors[i].tolist(), vectors[j].tolist())
        for i, j in combinations(range(len(owners)), 2)
        if owners[i] != owners[j]
    }
    usual = median(apart.values()) if apart else 0
    spread = 1.4826 * median(abs(distance - usual) for distance in apart.values()) if apart else 0
    expected = {pair for pair, distance in apart.items() if distance < usual / 2 and distance < usual - 3 * spread}
    found = find_near(vectors, owners)
    assert {(first, second) for first, second, _, _ in found} == expected
    assert [relative for *_, relative in found] == sorted(relative for *_, relative in found)
    for first, second, cosine, _ in found:
        assert cosine == pytest.approx(float(vectors[first] @ vectors[second]), abs=1e-5)


def test_a_narrow_cone_changes_nothing():
    """All vectors of a CLIP share a direction; how strongly differs, and must not decide what is near."""
    wide = unit(torch.randn(30, 16, generator=torch.Generator().manual_seed(0)))
    wide[1] = unit(wide[:1] + 0.2 * wide[1:2])[0]
    narrow = unit(torch.cat([wide, torch.full((30, 1), 3.0)], dim=1))
    owners = range(30)
    assert (
        [near[:2] for near in find_near(wide, owners)] == [near[:2] for near in find_near(narrow, owners)] == [(0, 1)]
    )


def test_what_is_one_is_not_near():
    vectors = unit(torch.tensor([[1.0, 0], [1, 0], [1, 1e-7], [0, 1]]))
    assert find_near(vectors, [0, 0, 1, 2]) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("voc-concepts", set()),
        ("coco-names", set()),
        ("cityscapes-concepts", {("motorcyclist", "motorcycle"), ("traffic light pole", "traffic light")}),
        (
            "ade20k-names",
            {
                ("stairs", "stairway"),
                ("cushion", "pillow"),
                ("boat", "ship"),
                ("chair", "armchair"),
                ("building", "house"),
            },
        ),
    ],
)
def test_real_vectors(test_data, name, expected):
    """OpenAI's ViT-B/16: synonyms and parts are near, while a cat is no dog."""
    with safe_open(test_data / "text_embeddings" / f"{name}.safetensors", framework="pt") as file:
        words = json.loads(file.metadata()["texts"])
        vectors = unit(file.get_tensor(next(iter(file.keys()))).float())
    owners = _classes_of(name, words)
    near = {frozenset((words[a], words[b])) for a, b, _, _ in find_near(vectors, owners)}
    assert near == {frozenset(pair) for pair in expected}


def _classes_of(name, words):
    dataset, kind = name.split("-")
    found = texts(load_definition(dataset, "published"), "concepts" if kind == "concepts" else "name")
    assert len(found.texts) == len(words)
    return found.class_of_text
