"""The image at a position of a seeded shuffle, computed alone: the shuffle of millions of images is never kept."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def shuffled(position: int, count: int, key: Sequence[int]) -> int:
    """Return which of `0..count - 1` stands at `position` of the shuffle that `key` names, in constant time and memory.

    A Feistel network over pairs (position in `a` rows and `b` columns, `a * b` hardly larger than `count`) is a
    permutation of all pairs; walking on from a pair that means no image makes it one of `0..count - 1`.
    """
    a = math.isqrt(count - 1) + 1
    b = -(-count // a)
    secret = b"".join(number.to_bytes(8, "little") for number in key)
    while True:
        row, column = divmod(position, b)
        for turn in range(8):
            if turn % 2:
                row = (row + _noise(secret, turn, column)) % a
            else:
                column = (column + _noise(secret, turn, row)) % b
        position = row * b + column
        if position < count:
            return position


def _noise(secret: bytes, turn: int, number: int) -> int:
    words = number.to_bytes(8, "little") + turn.to_bytes(1, "little")
    return int.from_bytes(hashlib.blake2b(words, digest_size=8, key=secret).digest(), "little")


class Blocks:
    """A shuffle of the images in shards: what comes at one time lies in few stretches of few files.

    A shard is cut into stretches of neighbours. All stretches are shuffled and form blocks, one after the other, and
    the images of a block are shuffled among each other. So each image comes once, neighbours in a shard come apart, and
    yet the images of a block lie in long stretches that the disk reads at once.
    """

    def __init__(self, parts: Sequence[int], *, stretch: int = 256, block: int = 64) -> None:
        """Take the lengths of files that follow each other; a stretch has so many images, a block so many stretches."""
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
