"""Reads pixels of any format a user may have: images as RGB as shown, masks as class ids, broken files as one line."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from semivl_cli.class_ids import IGNORE
from semivl_cli.data.contract import Dataset, Record, Source, TarEntry
from semivl_cli.data.read.orientation import Layout, layout, turn
from semivl_cli.data.read.tar_entries import read_entry
from semivl_cli.errors import InputError, SemiVLError, listed

MAX_PIXELS = 500_000_000
"""Larger images are refused."""

# Pillow's own guard warns above 89 and refuses above 179 megapixels, which aerial images exceed; ours is MAX_PIXELS.
Image.MAX_IMAGE_PIXELS = None
# What Pillow warns of is metadata: pixels that it cannot read are errors.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_TIFF = (b"II*\0", b"MM\0*")


def read_image(source: Source) -> NDArray[np.uint8]:
    """Read an image as uint8 RGB `[H, W, 3]`, turned as its EXIF orientation says; the array may be read-only.

    16-bit values are divided by 257; floats in 0..1 are multiplied by 255, others stretched from their minimum to
    their maximum, with NaN and infinity as 0. Transparent pixels are laid on black. Of several frames the first counts.

    Raises:
        InputError: if the file is absent, no image, broken, or larger than `MAX_PIXELS`.
    """
    if callable(source):
        return source()
    with _opened(source) as picture:
        pixels = _pixels(turn(picture))
    return np.repeat(_to_bytes(pixels)[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def image_size(source: Source) -> tuple[int, int]:
    """Return `(H, W)` of an image as shown, which for a file reads no more than its header.

    Raises:
        InputError: as `read_image`, but a truncated file passes.
    """
    return image_layout(source).shown


def image_layout(source: Source) -> Layout:
    """Return the size of an image as stored, and how it is turned to be shown; reads and raises as `image_size`."""
    if callable(source):
        height, width = source().shape[:2]
        return Layout((height, width))
    with _opened(source) as picture:
        return layout(picture)


def read_thumbnail(source: Source) -> tuple[tuple[int, int], NDArray[np.uint8]]:
    """Read an image to its end, as fast as that goes: `(H, W)` as shown, and its grey values as `[8, 9]`.

    Raises:
        InputError: as `read_image`.
    """
    if callable(source):
        pixels: NDArray[Any] = source()
        size = (pixels.shape[0], pixels.shape[1])
    else:
        with _opened(source) as picture:
            size = layout(picture).shown
            picture.draft("RGB", (64, 64))  # a large JPEG is decoded at an eighth of its size
            pixels = _pixels(turn(picture))
    small = Image.fromarray(_to_bytes(pixels)).convert("L").resize((9, 8), Image.Resampling.BOX)
    return size, np.asarray(small)


def read_raw_label(source: Source) -> NDArray[Any]:
    """Read the raw values `[H, W]` of a mask: palette indices, grey values of 8, 16 or 32 bits, or 0 and 1.

    Raises:
        InputError: if the file cannot be read, or has more than one channel.
    """
    if callable(source):
        return source()
    with _opened(source, by_opencv=False) as picture:  # which expands palettes to colours
        values = whole_numbers(turn(picture))
        if values is not None:
            return values
        raise InputError(
            f"{source}: a mask has one channel of whole numbers, this one is {picture.mode} "
            f"({len(picture.getbands())} channels): save it as a grey or palette PNG whose values are class ids"
        )


def whole_numbers(picture: Image.Image) -> NDArray[Any] | None:
    """Return palette indices, grey values, or 0 and 1 `[H, W]`; `None` where a picture has channels or fractions."""
    if picture.mode == "1":
        return np.array(picture, dtype=np.uint8)
    return np.array(picture) if picture.mode in ("P", "L", "I") or picture.mode.startswith("I;16") else None


def read_label(record: Record, dataset: Dataset, class_names: Sequence[str]) -> NDArray[np.uint8]:
    """Read the mask of a record as class ids `0..N-1` and `IGNORE`, uint8 `[H, W]`.

    Raises:
        InputError: if the file cannot be read, or holds a value that means no class.
    """
    assert record.label is not None, f"record {record.id} has no label"
    raw = read_raw_label(record.label)
    return check_ids(dataset.class_ids(raw), raw, class_names, label_name(record))


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


def read_pair(
    record: Record, dataset: Dataset, class_names: Sequence[str]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read image `[H, W, 3]` and class ids `[H, W]` of a record; raises `InputError` also where their sizes differ."""
    image, label = read_image(record.image), read_label(record, dataset, class_names)
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


@contextmanager
def _opened(path: Path | TarEntry, *, by_opencv: bool = True) -> Iterator[Image.Image]:
    """Open an image file; whatever its decoder raises becomes one line that names the file.

    `by_opencv`: a TIFF that Pillow cannot read, such as one of three float channels, becomes 8-bit RGB.
    """
    with decoding(str(path)), _open(path, by_opencv) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise InputError(
                f"{path}: {picture.width} x {picture.height} pixels are more than "
                f"{MAX_PIXELS // 1_000_000} megapixels: cut it into tiles"
            )
        yield picture


def _open(path: Path | TarEntry, by_opencv: bool) -> Image.Image:
    try:
        return Image.open(path if isinstance(path, Path) else io.BytesIO(read_entry(path)))
    except UnidentifiedImageError as error:
        data = path.read_bytes() if isinstance(path, Path) else read_entry(path)
        if not data:
            raise InputError(f"{path}: the file is empty") from error
        if not by_opencv or not data.startswith(_TIFF):
            raise
    from semivl_cli.data.read.opencv import cv2  # noqa: PLC0415 - hardly any file needs it

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    if pixels is None:
        raise UnidentifiedImageError
    return Image.fromarray(_to_bytes(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)))


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder of images raises into one line that begins with `name`."""
    try:
        yield
    except (SemiVLError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not an image that can be read") from error
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise InputError(f"{name}: is a folder, expected an image file") from error
    except Exception as error:  # parsers trip over a broken file in any way: OSError, SyntaxError, struct.error, ...
        raise InputError(f"{name}: the image cannot be read ({' '.join(str(error).split())})") from error


def _pixels(picture: Image.Image) -> NDArray[Any]:
    """Return uint8 RGB `[H, W, 3]`, or `[H, W]` where values have more than 8 bits."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return np.array(picture)
    if picture.has_transparency_data:
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture.convert("RGBA"))
    # Read-only, and for RGB the only copy: that of a large picture costs more than its JPEG decoding.
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _to_bytes(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring numbers of any type to 0..255."""
    if numbers.dtype == np.uint8:
        return numbers
    if numbers.dtype == np.uint16:
        return np.rint(numbers / 257).astype(np.uint8)
    finite = np.where(np.isfinite(numbers), numbers, 0).astype(np.float64)
    low, high = finite.min(), finite.max()
    whole = np.issubdtype(numbers.dtype, np.integer)
    if whole and low >= 0 and high <= 65535:  # a 32-bit image often holds 8 or 16 bits
        scaled = finite if high <= 255 else finite / 257
    elif not whole and low >= 0 and high <= 1:
        scaled = finite * 255
    else:
        scaled = (finite - low) / (high - low if high > low else 1) * 255
    return np.rint(scaled).astype(np.uint8)
