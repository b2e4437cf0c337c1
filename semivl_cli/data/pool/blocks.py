"""A shuffle for images in shards: what comes at one time lies in few stretches of few files.

A shard is cut into runs of neighbours. All runs are shuffled, window after window of them is opened, and the images of
a window are shuffled among each other. So each image comes once, neighbours in a shard come apart, and yet a window's
images lie in long stretches that the disk reads at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.pool.shuffle import shuffled

RUN = 256
"""Images of a run."""
WINDOW = 64
"""Runs of a window."""


class Windows:
    """The shuffle of numbers `0..sum(parts) - 1`, where parts are the lengths of files that follow each other."""

    def __init__(self, parts: Sequence[int], *, run: int = RUN, window: int = WINDOW) -> None:
        lengths = np.asarray(parts, np.int64)
        runs = -(-lengths // run)
        first = np.repeat(np.cumsum(lengths) - lengths, runs)
        within = np.arange(runs.sum()) - np.repeat(np.cumsum(runs) - runs, runs)
        self._starts = first + run * within
        self._lengths = np.minimum(np.repeat(lengths, runs) - run * within, run)
        self._window = window
        self._order: tuple[tuple[int, ...], NDArray[np.int64], NDArray[np.int64]] | None = None

    def at(self, place: int, key: Sequence[int]) -> int:
        """Return which number stands at a place of the shuffle that `key` (a seed, then draws) names."""
        runs, begins = self._runs(tuple(key))
        window = (int(np.searchsorted(begins, place, side="right")) - 1) // self._window
        begin = int(begins[window * self._window])
        end = int(begins[min((window + 1) * self._window, len(runs))])
        drawn = begin + shuffled(place - begin, end - begin, (*key, window))
        run = int(np.searchsorted(begins, drawn, side="right")) - 1
        return int(self._starts[runs[run]]) + drawn - int(begins[run])

    def _runs(self, key: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the runs in their order, and the place at which each begins, with the end behind the last."""
        if self._order is None or self._order[0] != key:
            seed, *draws = key
            runs = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=draws)).permutation(len(self._starts))
            self._order = (key, runs, np.concatenate(([0], np.cumsum(self._lengths[runs]))))
        return self._order[1], self._order[2]
