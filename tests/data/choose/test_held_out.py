"""Held-out labels cover the classes and leave each class something to learn from."""

import numpy as np
import pytest

from semivl_cli.data.choose.held_out import hold_out
from semivl_cli.data.contract import Record
from semivl_cli.errors import InputError

NAMES = ("sky", "road", "car")


class Rows:
    """Each image is a row of pixels that shows the given classes."""

    name = "rows"

    def class_ids(self, raw):
        return raw


def records(*shown):
    def pixels(ids):
        return lambda: np.array([ids], np.uint8)

    return tuple(Record(id=str(i), image=pixels(ids), label=pixels(ids)) for i, ids in enumerate(shown))


def ids(held):
    return [record.id for record in held]


@pytest.mark.parametrize("seed", range(5))
def test_a_fifth_is_held_out_and_no_class_loses_its_last_image(seed):
    labeled = records([0, 1], [0, 1], [0, 2], [0], [1], [0, 1], [0, 1], [2, 0], [0, 255], [1])
    kept, held = hold_out(Rows(), labeled, seed=seed, class_names=NAMES)
    assert len(held) == 2
    assert sorted(ids(kept) + ids(held), key=int) == ids(labeled)
    assert set().union(*(set(record.label()[0].tolist()) for record in kept)) >= {0, 1, 2}
    assert set().union(*(set(record.label()[0].tolist()) for record in held)) >= {0, 1, 2}
    assert ids(hold_out(Rows(), labeled, seed=seed, class_names=NAMES)[1]) == ids(held)


def test_the_seed_decides():
    labeled = records(*[[0, 1]] * 30)
    assert len({tuple(ids(hold_out(Rows(), labeled, seed=seed, class_names=NAMES)[1])) for seed in range(4)}) > 1


@pytest.mark.parametrize("labeled", [records([0]), records([0], [1], [2]), records([0, 1], [255])])
def test_where_no_image_can_be_spared_one_line_says_so(labeled):
    with pytest.raises(InputError, match="--select last"):
        hold_out(Rows(), labeled, seed=0, class_names=NAMES)
