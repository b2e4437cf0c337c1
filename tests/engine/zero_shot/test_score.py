"""The words of a definition, scored on the labelled images of a training with its settings."""

import pytest

from semivl_cli.engine.zero_shot.score import score


class Told:
    """A reporter that remembers the notes."""

    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)

    def start(self, task, total, done=0):
        self.total = total

    def advance(self, task, done, values):
        self.done = done

    def finish(self, task):
        assert self.done == self.total


def test_the_labelled_images_are_those_of_a_training_and_seeds_change_them():
    def ids(seed):
        flags = {"dataset": "shapes", "seed": seed, "data": {"labels": "3", "definition": "shapes"}, "device": "cpu"}
        return score(flags, (), None, Told())

    first, again, other = ids(0), ids(0), ids(1)
    assert len(first.labels) == 3
    assert first == again
    assert first.labels != other.labels


def test_settings_reach_the_guidance():
    flags = {"dataset": "shapes", "data": {"labels": "2", "definition": "shapes"}, "device": "cpu"}
    low, high = (score(flags, [f"guidance.zeta={zeta}"], None, Told()).findings for zeta in (0.0, 1.0))
    assert low.quality.taught == pytest.approx(low.quality.miou)
    assert low.quality.coverage > high.quality.coverage
