"""Reads pixels of any format a user may have: images as RGB as shown, masks as class ids, broken files as one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semivl_cli.class_ids import IGNORE
from semivl_cli.data.contract import Dataset, Record, Source, TellsValueRange, stored_ids
from semivl_cli.data.read.brightness import ValueRange
from semivl_cli.data.read.orientation import Layout
from semivl_cli.data.read.picture_files import Picture, open_picture
from semivl_cli.data.registry import plugin_code
from semivl_cli.errors import InputError, listed


class Shown(NamedTuple):
    """An image as shown."""

    pixels: NDArray[np.uint8]
    """RGB `[H, W, 3]`, maybe read-only."""
    faint: bool
    """Whether it holds numbers of more than 8 bits and uses less than a sixteenth of their range."""


class Thumbnail(NamedTuple):
    """An image made small."""

    size: tuple[int, int]
    """`(H, W)` as shown."""
    grey: NDArray[np.uint8]
    """`[8, 9]`."""
    faint: bool
    """As of `Shown`."""


def read_image(source: Source, value_range: ValueRange | None = None) -> NDArray[np.uint8]:
    """Read an image as uint8 RGB `[H, W, 3]`, turned as its EXIF orientation says; the array may be read-only.

    Whole numbers of more than 8 bits are divided by 257, fractions multiplied by 255 (`to_bytes`), unless
    `value_range` tells which are black and white. Transparent pixels are laid on black. Of several frames the first
    counts.

    Raises:
        InputError: if the file is absent, no image, broken, larger than `MEGAPIXELS`, or holds numbers out of range.
    """
    return read_shown(source, value_range).pixels


def read_shown(source: Source, value_range: ValueRange | None = None) -> Shown:
    """Read as `read_image`, and tell whether the image uses little of its range."""
    if callable(source):
        return Shown(_rendered(source), False)
    return Shown(*open_picture(source, str(source), lambda picture: picture.shown(value_range)))


def image_size(source: Source) -> tuple[int, int]:
    """Return `(H, W)` of an image as shown, which for a file reads no more than its header.

    Raises:
        InputError: as `read_image`, but a truncated file passes.
    """
    return image_layout(source).shown


def image_layout(source: Source) -> Layout:
    """Return the size of an image as stored, and how it is turned to be shown; reads and raises as `image_size`."""
    if callable(source):
        height, width = read_shown(source).pixels.shape[:2]
        return Layout((height, width))
    return open_picture(source, str(source), lambda picture: picture.layout)


def read_thumbnail(source: Source, value_range: ValueRange | None = None) -> Thumbnail:
    """Read an image to its end, as fast as that goes; raises `InputError` as `read_image`."""

    def small(picture: Picture) -> Thumbnail:
        if picture.pillow is not None:
            picture.pillow.draft("RGB", (64, 64))  # a large JPEG is decoded at an eighth of its size
        return _thumbnail(picture.layout.shown, Shown(*picture.shown(value_range)))

    if callable(source):
        pixels = _rendered(source)
        return _thumbnail((pixels.shape[0], pixels.shape[1]), Shown(pixels, False))
    return open_picture(source, str(source), small)


def _thumbnail(size: tuple[int, int], shown: Shown) -> Thumbnail:
    grey = Image.fromarray(shown.pixels).convert("L").resize((9, 8), Image.Resampling.BOX)
    return Thumbnail(size, np.asarray(grey), shown.faint)


def read_raw_label(source: Source) -> NDArray[Any]:
    """Read the raw values `[H, W]` of a mask: palette indices, grey values of 8, 16 or 32 bits, or 0 and 1.

    Raises:
        InputError: if the file cannot be read, or has more than one channel.
    """

    def values(picture: Picture) -> NDArray[Any]:
        numbers = picture.whole_numbers()
        if numbers is None:
            raise InputError(
                f"a mask has one channel of whole numbers, this one is {picture}: save it as a grey or "
                "palette PNG whose values are class ids"
            )
        return numbers

    return _rendered(source, 2) if callable(source) else open_picture(source, str(source), values)


def _rendered(source: Callable[[], NDArray[Any]], axes: int = 3) -> NDArray[Any]:
    """Call a plugin's function for pixels (3 axes, uint8) or the raw values of a label (2 axes, whole numbers)."""
    with plugin_code(None, f"rendering {str(source)[:80]}"):
        pixels = source()
        if pixels.ndim != axes or pixels.dtype.kind not in "iu" or (axes == 3 and pixels.dtype != np.uint8):
            expected = "uint8 [H, W, 3]" if axes == 3 else "whole numbers [H, W]"
            raise TypeError(f"expected {expected}, got {pixels.dtype} {list(pixels.shape)}")
        return pixels


def read_label(record: Record, dataset: Dataset, class_names: Sequence[str]) -> NDArray[np.uint8]:
    """Read the mask of a record as class ids `0..N-1` and `IGNORE`, uint8 `[H, W]`.

    Raises:
        InputError: if the file cannot be read, or holds a value that means no class.
    """
    assert record.label is not None, f"record {record.id} has no label"
    return label_of(record, read_raw_label(record.label), dataset, class_names)


def label_of(record: Record, raw: NDArray[Any], dataset: Dataset, class_names: Sequence[str]) -> NDArray[np.uint8]:
    """Return the class ids that the raw values of a record's mask mean; raises `InputError` as `read_label`."""
    with plugin_code(dataset, f"telling the class ids of {label_name(record)}"):
        ids = dataset.class_ids(raw)
        if ids.dtype.kind not in "iu" or ids.shape != raw.shape:
            raise TypeError(f"expected uint8 {list(raw.shape)}, got {ids.dtype} {list(ids.shape)}")
        return check_ids(stored_ids(ids), raw, class_names, label_name(record))


def check_ids(ids: NDArray[np.uint8], raw: NDArray[Any], class_names: Sequence[str], name: str) -> NDArray[np.uint8]:
    """Return `ids`, made from the values `raw` of the mask `name`, if all are class ids or `IGNORE`.

    Raises:
        InputError: names the most frequent value that means no class, and the classes.
    """
    unknown = (ids >= len(class_names)) & (ids != IGNORE)
    if unknown.any():
        values, counts = np.unique(raw[unknown], return_counts=True)
        worst = int(counts.argmax())
        raise InputError(
            f"{name}: value {values[worst]} ({counts[worst]} pixels) is no class; "
            f"the classes are {known_classes(class_names)}; {IGNORE} is ignored"
        )
    return ids


def known_classes(names: Sequence[str]) -> str:
    """Return the classes as messages list them: ids and names."""
    return listed([f"{number} {name}" for number, name in enumerate(names)])


def value_range_of(dataset: Dataset) -> ValueRange | None:
    """Return which numbers of its images a dataset says are black and white, if it says so."""
    return dataset.value_range if isinstance(dataset, TellsValueRange) else None


def read_pair(
    record: Record, dataset: Dataset, class_names: Sequence[str], value_range: ValueRange | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read image `[H, W, 3]` and class ids `[H, W]` of a record; raises `InputError` also where their sizes differ."""
    image, label = read_image(record.image, value_range), read_label(record, dataset, class_names)
    check_size(label_name(record), label.shape, image.shape)
    return image, label


def check_size(name: str, mask: tuple[int, ...], image: tuple[int, ...]) -> None:
    """Refuse the mask `name` whose shape `[H, W]` or `[H, W, 3]` is not that of its image as shown."""
    if mask[:2] != image[:2]:
        raise InputError(
            f"{name}: the mask is {mask[1]} x {mask[0]} pixels (width x height), "
            f"its image as shown is {image[1]} x {image[0]}: they must be equal"
        )


def label_name(record: Record) -> str:
    """Return how messages name the mask of a record."""
    return f"the mask of {record.id!r}" if callable(record.label) else str(record.label)
