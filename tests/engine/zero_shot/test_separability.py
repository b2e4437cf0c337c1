"""What `validate --weights` says of words that a CLIP confuses, with the lines where they stand."""

import pytest
import torch
import torch.nn.functional as F

from semivl_cli.engine.zero_shot import separability as module
from semivl_cli.engine.zero_shot.embed import TextVectors
from semivl_cli.engine.zero_shot.separability import indistinct_words
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
def found(monkeypatch):
    """Problems of FILE for given vectors of mug, beaker, pan and lid, and of the classes."""

    def found(concepts, classes=((1.0, 0, 0), (0, 1, 0), (0, 0, 1))):
        vectors = TextVectors(
            concepts=F.normalize(torch.tensor(concepts), dim=1),
            class_of_concept=(0, 0, 1, 2),
            classes={name: F.normalize(torch.tensor(classes), dim=1) for name in ("name", "guideline", "mean")},
            metadata={},
            cached=False,
        )
        monkeypatch.setattr(module, "text_vectors", lambda *_: vectors)
        problems = indistinct_words(FILE, "kitchen.toml", weights=None, dataset=None, reporter=Silence())
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


def test_a_word_that_the_clip_does_not_know_is_named():
    with pytest.raises(InputError, match="not in the vocabulary"):
        indistinct_words(FILE, "kitchen.toml", weights=None, dataset="shapes", reporter=Silence())
