"""Finds images that are in training and validation both: the same file, the same pixels, or frames that look alike."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import Split
from semivl_cli.data.read.brightness import ValueRange
from semivl_cli.data.read.images import read_image, read_thumbnail
from semivl_cli.data.read.known_files import File, KnownFiles
from semivl_cli.errors import InputError

_ALIKE = 10
"""Of the 64 bits of a difference hash, how many may differ in images that look alike."""
_ONES = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)


class Fingerprints:
    """Of the images of a split: position, 64 bits of the content, and difference hash."""

    def __init__(self) -> None:
        self._rows = array("Q")

    def add(self, position: int, content: bytes, difference: int) -> None:
        """Add the image at a position of its split: hash of its content, and difference hash."""
        self._rows.extend((position, int.from_bytes(content[:8], "big"), difference))

    def __len__(self) -> int:
        return len(self._rows) // 3

    def table(self) -> NDArray[np.uint64]:
        """Return positions, contents and difference hashes `[3, images]`."""
        return np.array(self._rows, np.uint64).reshape(-1, 3).T

    @property
    def repeated(self) -> int:
        """How many images are the same file as an earlier one."""
        return len(self) - len(np.unique(self.table()[1]))


def difference_hash(thumbnail: NDArray[np.uint8]) -> int | None:
    """Return 64 bits that images of the same scene share for the most part: where `[8, 9]` gets brighter to the right.

    An image of a single colour, as of broken cameras and empty tiles, has none, and nothing is like it: `None`.
    """
    if int(thumbnail.max()) - int(thumbnail.min()) <= 2:
        return None
    return int.from_bytes(np.packbits(thumbnail[:, 1:] > thumbnail[:, :-1]).tobytes(), "big")


def same_images(
    train: Fingerprints,
    val: Fingerprints,
    file_at: Callable[[Split, int], File],
    value_range: ValueRange | None = None,
) -> tuple[list[tuple[File, File]], list[tuple[File, File]]]:
    """Return pairs (validation, training) of the same image, and pairs of images that only look alike.

    The same are files of the same content, and files of the same pixels: a copy in another format, or renamed.
    """
    same: list[tuple[File, File]] = []
    alike: list[tuple[File, File]] = []
    positions, contents, hashes = train.table()
    copies = np.flatnonzero(np.isin(contents, val.table()[1]))[::-1].tolist()
    by_content = {int(contents[copy]): int(positions[copy]) for copy in copies}
    # Of more pairs, validation images are compared in part, evenly spread.
    step = max(len(val) * max(len(train), 1) // (2 * 10**10), 1)
    for number, (position, content, difference) in enumerate(val.table().T.tolist()):
        if content in by_content:
            same.append((file_at("val", position), file_at("train", by_content[content])))
        elif number % step == 0 and len(train):
            differing = (hashes ^ np.uint64(difference)).view(np.uint16)
            distances = _ONES[differing].reshape(-1, 4).sum(axis=1)  # how many of the 64 bits
            near = np.flatnonzero(distances <= _ALIKE)
            near = near[np.argsort(distances[near], kind="stable")][:4]  # which are compared pixel by pixel
            if len(near):
                image = file_at("val", position)
                others = [file_at("train", int(positions[one])) for one in near]
                twin = next((other for other in others if _same_pixels(image, other, value_range)), None)
                (same if twin else alike).append((image, twin or others[0]))
    return same, alike


def check_leaks(train: Iterable[Path], val: Iterable[Path], value_range: ValueRange | None = None) -> None:
    """Refuse validation images that are also training images, file for file; images of a single colour may repeat.

    Only files of the same length are read.

    Raises:
        InputError: names the first, and their number.
    """
    known = KnownFiles(val)
    twins = ((known.twin(path), path) for path in train)
    found = [
        (twin, path)
        for twin, path in twins
        if twin and difference_hash(read_thumbnail(path, value_range).grey) is not None
    ]
    if found:
        more = f" ({len(found)} images in all)" if found[1:] else ""
        raise InputError(
            f"{found[0][0]} is a validation image, and {found[0][1]} the same image in training: take one of them "
            f"away, or validation means nothing{more}"
        )


def _same_pixels(one: File, other: File, value_range: ValueRange | None) -> bool:
    first, second = read_image(one, value_range), read_image(other, value_range)
    return first.shape == second.shape and bool((first == second).all())
