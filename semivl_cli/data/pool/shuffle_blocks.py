"""A shuffle for images in shards: what comes at one time lies in few stretches of few files.

A shard is cut into stretches of neighbours. All stretches are shuffled and form blocks, one after the other, and the
images of a block are shuffled among each other. So each image comes once, neighbours in a shard come apart, and yet the
images of a block lie in long stretches that the disk reads at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.pool.shuffle import shuffled

STRETCH = 256
"""Images of a stretch."""
BLOCK = 64
"""Stretches of a block."""


class Blocks:
    """The shuffle of numbers `0..sum(parts) - 1`, where parts are the lengths of files that follow each other."""

    def __init__(self, parts: Sequence[int], *, stretch: int = STRETCH, block: int = BLOCK) -> None:
        lengths = np.asarray(parts, np.int64)
        stretches = -(-lengths // stretch)
        first = np.repeat(np.cumsum(lengths) - lengths, stretches)
        within = np.arange(stretches.sum()) - np.repeat(np.cumsum(stretches) - stretches, stretches)
        self._starts = first + stretch * within
        self._lengths = np.minimum(np.repeat(lengths, stretches) - stretch * within, stretch)
        self._block = block
        self._order: tuple[tuple[int, ...], NDArray[np.int64], NDArray[np.int64]] | None = None

    def at(self, position: int, key: Sequence[int]) -> int:
        """Return which number stands at a position of the shuffle that `key` (a seed, then draws) names."""
        order, begins = self._shuffled(tuple(key))
        block = (int(np.searchsorted(begins, position, side="right")) - 1) // self._block
        begin = int(begins[block * self._block])
        end = int(begins[min((block + 1) * self._block, len(order))])
        drawn = begin + shuffled(position - begin, end - begin, (*key, block))
        stretch = int(np.searchsorted(begins, drawn, side="right")) - 1
        return int(self._starts[order[stretch]]) + drawn - int(begins[stretch])

    def _shuffled(self, key: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the stretches in their order, and the position at which each begins, with the end behind the last."""
        if self._order is None or self._order[0] != key:
            seed, *draws = key
            order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=draws)).permutation(len(self._starts))
            self._order = (key, order, np.concatenate(([0], np.cumsum(self._lengths[order]))))
        return self._order[1], self._order[2]
