"""The image at a position of a seeded shuffle, computed alone: the shuffle of millions of images is never kept."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence


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
