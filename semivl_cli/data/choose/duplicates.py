"""Finds images that are in training and validation both: the same file, the same pixels, or frames that look alike."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semivl_cli.data.contract import Split, TarEntry
from semivl_cli.data.read.images import read_image
from semivl_cli.data.read.tar_entries import read_entry
from semivl_cli.errors import InputError

File = Path | TarEntry
"""What an image is read from."""

_ALIKE = 10
"""Of the 64 bits of a look, how many may differ in images that look alike."""
_COMPARISONS = 2 * 10**10
"""Pairs that are compared at most; more validation images are then compared in part, evenly spread."""
_CLOSEST = 4
"""Training images of which each validation image is compared pixel by pixel, if they look alike."""
_FLAT = 2
"""Grey values within which an image shows a single colour, as broken cameras and empty tiles do: it has no look."""
_ONES = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)


@dataclass(slots=True)
class Looks:
    """Of each image of a split, in order: a hash of its file, and 64 bits of its look."""

    _places: array[int] = field(default_factory=lambda: array("Q"))
    _files: array[int] = field(default_factory=lambda: array("Q"))
    _looks: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, place: int, content: int, look: int) -> None:
        """Add the image at a place of its split; one of a single colour is left out."""
        self._places.append(place)
        self._files.append(content)
        self._looks.append(look)

    def place(self, number: int) -> int:
        """Return the place in its split of the image that was added as the `number`th."""
        return self._places[number]

    @property
    def files(self) -> NDArray[np.uint64]:
        """Hashes of the files `[images]`."""
        return np.frombuffer(self._files, np.uint64) if self._files else np.zeros(0, np.uint64)

    @property
    def looks(self) -> NDArray[np.uint64]:
        """Looks `[images]`."""
        return np.frombuffer(self._looks, np.uint64) if self._looks else np.zeros(0, np.uint64)

    @property
    def repeated(self) -> int:
        """How many images are the same file as an earlier one."""
        return len(self.files) - len(np.unique(self.files))


def look_of(thumbnail: NDArray[np.uint8]) -> int | None:
    """Return 64 bits that images of the same scene share for the most part: where `[8, 9]` gets brighter to the right.

    An image of a single colour has no look: `None`.
    """
    if int(thumbnail.max()) - int(thumbnail.min()) <= _FLAT:
        return None
    return int.from_bytes(np.packbits(thumbnail[:, 1:] > thumbnail[:, :-1]).tobytes(), "big")


def hash_file(path: File) -> int:
    """Return 64 bits of the content of a file."""
    digest = hashlib.blake2b(digest_size=8)
    if isinstance(path, TarEntry):
        digest.update(read_entry(path))
        return int.from_bytes(digest.digest(), "big")
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return int.from_bytes(digest.digest(), "big")


def same_images(
    train: Looks, val: Looks, file_at: Callable[[Split, int], File]
) -> tuple[list[tuple[File, File]], list[tuple[File, File]]]:
    """Return pairs (validation, training) of the same image, and pairs of images that only look alike.

    The same are files of the same content, and files of the same pixels: a copy in another format, or renamed.
    """
    same: list[tuple[File, File]] = []
    alike: list[tuple[File, File]] = []
    copies = np.flatnonzero(np.isin(train.files, val.files))[::-1].tolist()
    by_content = {int(train.files[copy]): copy for copy in copies}
    step = max(len(val.files) * max(len(train.files), 1) // _COMPARISONS, 1)
    looks = train.looks
    for place, content in enumerate(val.files.tolist()):
        if content in by_content:
            same.append((file_at("val", val.place(place)), file_at("train", train.place(by_content[content]))))
        elif place % step == 0 and len(looks):
            distances = _bits(looks ^ val.looks[place])
            near = np.flatnonzero(distances <= _ALIKE)
            near = near[np.argsort(distances[near], kind="stable")][:_CLOSEST]
            if len(near):
                image = file_at("val", val.place(place))
                others = [file_at("train", train.place(int(one))) for one in near]
                twin = next((other for other in others if _same_pixels(image, other)), None)
                (alike if twin is None else same).append((image, others[0] if twin is None else twin))
    return same, alike


def check_leaks(train: Iterable[Path], val: Sequence[Path]) -> None:
    """Refuse validation images that are also training images, file for file; images of a single colour may repeat.

    Only files of the same length are read.

    Raises:
        InputError: names the first, and their number.
    """
    by_size: dict[int, list[Path]] = {}
    for path in val:
        by_size.setdefault(path.stat().st_size, []).append(path)
    contents: dict[int, dict[int, Path]] = {}
    found = []
    for path in train:
        size = path.stat().st_size
        if size in by_size:
            if size not in contents:
                contents[size] = {hash_file(one): one for one in by_size[size]}
            twin = contents[size].get(hash_file(path))
            if twin is not None and look_of(_thumbnail(path)) is not None:
                found.append((twin, path))
    if found:
        more = f" ({len(found)} images in all)" if found[1:] else ""
        raise InputError(
            f"{found[0][0]} is a validation image, and {found[0][1]} the same image in training: take one of them "
            f"away, or validation means nothing{more}"
        )


def _thumbnail(path: Path) -> NDArray[np.uint8]:
    picture = Image.fromarray(read_image(path)).convert("L")
    return np.asarray(picture.resize((9, 8), Image.Resampling.BOX))


def _bits(numbers: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Count the ones of each number `[n]`."""
    return np.asarray(_ONES[numbers.view(np.uint16)].reshape(-1, 4).sum(axis=1), np.uint8)


def _same_pixels(one: File, other: File) -> bool:
    first, second = read_image(one), read_image(other)
    return first.shape == second.shape and bool((first == second).all())
