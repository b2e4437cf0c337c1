"""Sets labelled images aside, so that a step can be chosen on labels that neither trained it nor are reported."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from semivl_cli.data.choose.splits import classes_shown
from semivl_cli.data.contract import Dataset, Record
from semivl_cli.errors import InputError


def hold_out(
    dataset: Dataset, labeled: Sequence[Record], *, seed: int, class_names: Sequence[str]
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Split the labelled images into those that train and a fifth (at most 500) set aside; both keep their order.

    The draw follows from the seed. It covers as many classes as it can, and never takes the last image of a class:
    where none can be spared, it raises `InputError`.
    """
    shows = classes_shown(dataset, labeled, class_names)  # [images, N]
    seeds = np.random.SeedSequence(seed, spawn_key=(1,))  # the draw of the labelled images has no key
    order = np.random.default_rng(seeds).permutation(len(labeled))
    shows = shows[order]
    held = np.zeros(len(labeled), bool)
    for _ in range(min(-(-len(labeled) // 5), 500)):  # more are not needed to tell two steps apart
        last = shows[~held].sum(axis=0) == 1
        free = ~held & ~(shows & last).any(axis=1) & shows.any(axis=1)
        if not free.any():
            break
        covered = shows[held].any(axis=0)
        gain = np.where(free, (shows & ~covered).sum(axis=1), -1)
        held[gain.argmax()] = True
    if not held.any():
        raise InputError(
            f"no labelled image can be set aside for held-out selection: each of the {len(labeled)} is the only one of "
            "some class; label more, or take --select last"
        )
    chosen = set(order[held].tolist())
    rest = tuple(record for number, record in enumerate(labeled) if number not in chosen)
    return rest, tuple(record for number, record in enumerate(labeled) if number in chosen)
