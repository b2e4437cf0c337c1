"""Opens picture files: sizes by their headers before memory is taken, whichever decoder can, one line where none can.

Pillow reads nearly all. OpenCV reads what Pillow cannot, or only in 8 of its bits: TIFF and PNG of three or four
channels of more bits, and TIFF of numbers that Pillow does not know.
"""

from __future__ import annotations

import io
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import COMPRESSION_INFO

from semivl_cli.data.contract import TarEntry
from semivl_cli.data.read.brightness import ValueRange, is_faint, to_rgb
from semivl_cli.data.read.metadata import without_metadata
from semivl_cli.data.read.orientation import Layout, layout_of, one_of_eight, turn, turned
from semivl_cli.data.read.tar_entries import read_entry
from semivl_cli.data.read.tiff_header import (
    FRACTIONS,
    GREY,
    GREY_INVERTED,
    RGB,
    SIGNED,
    UNSIGNED,
    TiffHeader,
    is_tiff,
    read_tiff_header,
)
from semivl_cli.errors import InputError, SemiVLError
from semivl_cli.limits import check_pixels

# Pillow's own guard warns above 89 and refuses above 179 megapixels, which aerial images exceed; ours is MEGAPIXELS.
Image.MAX_IMAGE_PIXELS = None
# What Pillow warns of is metadata: pixels that it cannot read are errors.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

T = TypeVar("T")

_NO_PICTURES = ("EPS", "WMF", "MPEG", "HDF5", "GRIB", "BUFR")
"""What Pillow opens and reads only by another program, one that runs what stands in the file, or not at all."""
_AT_ONCE = 2**24
"""Pixels that are converted at once: beyond, a picture would be in memory once more."""
_MOST_SAID = 200


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture file of which the header was read, and not yet the pixels."""

    layout: Layout
    pillow: Image.Image | None
    """What Pillow opened; nothing where it would lose bits, or cannot read it."""
    tiff: TiffHeader | None
    content: Callable[[], bytes]

    def __str__(self) -> str:
        if self.pillow is not None:
            return f"{self.pillow.mode} ({len(self.pillow.getbands())} channels)"
        return str(self.tiff or "RGB of 16 bits")

    @property
    def is_deep(self) -> bool:
        """Whether its numbers have more than 8 bits."""
        return self.pillow is None or self.pillow.mode[0] in "IF"

    def shown(self, value_range: ValueRange | None = None) -> tuple[NDArray[np.uint8], bool]:
        """Return RGB `[H, W, 3]` as shown, and whether numbers of more than 8 bits use little of their range.

        Transparent pixels are laid on black; the array may be read-only.
        """
        if self.pillow is None:
            numbers = _by_opencv(self.content(), self.tiff, self.layout.orientation)
        else:
            numbers = _by_pillow(turn(self.pillow), self.tiff)
        colors = numbers[..., :3] if numbers.ndim == 3 else numbers
        return to_rgb(numbers, value_range, alpha=self.tiff is None or self.tiff.alpha), is_faint(colors, value_range)

    def whole_numbers(self) -> NDArray[Any] | None:
        """Return palette indices, grey values, or 0 and 1 `[H, W]` as shown; `None`: it has channels or fractions."""
        if self.pillow is None:
            numbers = _by_opencv(self.content(), self.tiff, self.layout.orientation)
            return numbers if numbers.ndim == 2 and numbers.dtype.kind in "iu" else None
        picture = turn(self.pillow)
        if picture.mode == "1":
            return np.array(picture, dtype=np.uint8)
        if picture.mode == "P":
            return np.array(picture)
        return _grey(picture, self.tiff) if picture.mode in ("L", "I") or picture.mode.startswith("I;16") else None


def open_picture(source: Path | TarEntry | bytes, name: str, work: Callable[[Picture], T]) -> T:
    """Return what `work` makes of a picture, which is closed then; it may be called twice.

    Raises:
        InputError: the file is absent, no picture, broken, or larger than `MEGAPIXELS`; the line begins with `name`.
    """
    with decoding(name), _stream(source, name) as (file, size):
        start = file.read(16)
        if not start:
            raise UnidentifiedImageError if isinstance(source, bytes) else InputError(f"{name}: the file is empty")
        tiff = None
        if is_tiff(start):
            tiff = read_tiff_header(file, size)
            check_pixels(tiff.height, tiff.width, name)
            if tiff.cut:
                raise InputError("the image cannot be read (its pixels are cut off)")
        try:
            return _opened(file, tiff, name, work)
        except SemiVLError:
            raise
        except Exception:
            plain = without_metadata(_content(file))
            if plain is None:
                raise
            return _opened(io.BytesIO(plain), None, name, work)


def _opened(file: IO[bytes], tiff: TiffHeader | None, name: str, work: Callable[[Picture], T]) -> T:
    def content() -> bytes:
        return _content(file)

    if tiff is not None and _has_deep_colors(tiff):
        with suppress(UnidentifiedImageError):  # packed in a way that Pillow alone knows
            return work(Picture(layout=_layout(tiff), pillow=None, tiff=tiff, content=content))
    file.seek(0)
    try:
        picture = Image.open(file)
    except UnidentifiedImageError:
        if tiff is None:
            raise
        _check_tiff(tiff)
        return work(Picture(layout=_layout(tiff), pillow=None, tiff=tiff, content=content))
    with picture:
        if picture.format in _NO_PICTURES:
            raise InputError(f"{name}: {picture.format} is no format of pictures: expected PNG, JPEG, TIFF or the like")
        layout = layout_of(picture) if tiff is None else _layout(tiff)
        check_pixels(*layout.stored, name)
        if not picture.width * picture.height:
            raise InputError(f"{name}: it has no pixels")
        deep = isinstance(picture, PngImageFile) and picture.mode in ("RGB", "RGBA") and _png_bits(file) == 16
        return work(Picture(layout=layout, pillow=None if deep else picture, tiff=tiff, content=content))


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder of images raises into one line that begins with `name`."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not an image that can be read") from error
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise InputError(f"{name}: is a folder, expected an image file") from error
    except MemoryError as error:
        raise InputError(f"{name}: the image cannot be read (memory is short)") from error
    except InputError as error:
        raise error if str(error).startswith(name) else InputError(f"{name}: {error}") from error
    except SemiVLError:
        raise
    except Exception as error:  # parsers trip over a broken file in any way: OSError, SyntaxError, struct.error, ...
        raise InputError(f"{name}: the image cannot be read ({_said(error)})") from error


def _said(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MOST_SAID else f"{text[:_MOST_SAID]}..."


@contextmanager
def _stream(source: Path | TarEntry | bytes, name: str) -> Iterator[tuple[IO[bytes], int]]:
    """Open the bytes of a picture; yields them and their number."""
    if isinstance(source, Path):
        state = source.stat()
        if stat.S_ISDIR(state.st_mode):
            raise IsADirectoryError
        if not stat.S_ISREG(state.st_mode):  # a pipe would be waited for without end
            raise InputError(f"{name}: expected an image file, this is a device or a pipe")
        with source.open("rb") as file:
            yield file, state.st_size
        return
    content = read_entry(source) if isinstance(source, TarEntry) else source
    yield io.BytesIO(content), len(content)


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _layout(tiff: TiffHeader) -> Layout:
    return Layout((tiff.height, tiff.width), one_of_eight(tiff.orientation))


def _png_bits(file: IO[bytes]) -> int:
    """Return the bits of each number of a PNG, of which Pillow keeps 8; where it reads on stays as it is."""
    at = file.tell()
    file.seek(24)
    bits = file.read(1)
    file.seek(at)
    return bits[0]


def _has_deep_colors(tiff: TiffHeader) -> bool:
    """Whether only OpenCV keeps all bits of its colours; where a channel lies after the other, it reads nonsense."""
    deep = tiff.samples in (3, 4) and tiff.photometric == RGB and tiff.bits in (16, 32, 64)
    return deep and not tiff.planar and not (tiff.form == FRACTIONS and tiff.bits == 16)


def _check_tiff(tiff: TiffHeader) -> None:
    """Refuse what OpenCV would read wrong, or not at all, of what Pillow does not read."""
    if tiff.packing not in COMPRESSION_INFO:  # it would show black
        raise InputError(f"its pixels are packed in a way that is not read here (TIFF compression {tiff.packing})")
    grey = tiff.samples == 1 and tiff.photometric in (GREY, GREY_INVERTED)
    colors = tiff.samples in (3, 4) and tiff.photometric == RGB and not tiff.planar
    whole = tiff.form in (UNSIGNED, SIGNED) and tiff.bits in (8, 16, 32, 64)
    if not ((grey or colors) and (whole or (tiff.form == FRACTIONS and tiff.bits in (32, 64)))):
        raise InputError(f"it is {tiff}: expected grey, RGB or RGBA of 8 or 16 bits")


def _by_opencv(data: bytes, tiff: TiffHeader | None, orientation: int) -> NDArray[Any]:
    from semivl_cli.data.read.opencv import cv2  # noqa: PLC0415 - hardly any file needs it

    content = bytearray(data)
    if tiff is not None and tiff.orientation_at is not None:  # its versions differ in whether they turn a TIFF
        content[tiff.orientation_at : tiff.orientation_at + 2] = b"\0\1" if tiff.big_endian else b"\1\0"
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise UnidentifiedImageError
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return turned(_as_seen(pixels, tiff), orientation)


def _by_pillow(picture: Image.Image, tiff: TiffHeader | None) -> NDArray[Any]:
    """Return uint8 RGB `[H, W, 3]`, or `[H, W]` where values have more than 8 bits."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _as_seen(_grey(picture, tiff), tiff)
    width, height = picture.size
    rows = max(_AT_ONCE // width, 1)
    if rows >= height:
        return _to_rgb(picture)
    result = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        result[top : top + rows] = _to_rgb(picture.crop((0, top, width, min(top + rows, height))))
    return result


def _to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.has_transparency_data:
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture.convert("RGBA"))
    # Read-only, and for RGB the only copy: that of a large picture costs more than its JPEG decoding.
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _grey(picture: Image.Image, tiff: TiffHeader | None) -> NDArray[Any]:
    """Return the numbers of one channel, of the type that the file has, in the machine's byte order."""
    numbers: NDArray[Any] = np.array(picture)
    if tiff is not None and tiff.form == UNSIGNED and numbers.dtype == np.int32:  # Pillow has no type for these two
        return numbers.view(np.uint32)
    if tiff is not None and tiff.form == SIGNED and numbers.dtype == np.uint8:
        return numbers.view(np.int8)
    return numbers.astype(numbers.dtype.newbyteorder("="), copy=False)


def _as_seen(numbers: NDArray[Any], tiff: TiffHeader | None) -> NDArray[Any]:
    """Turn numbers round of which 0 is white; of 8 bits Pillow has done so."""
    inverted = tiff is not None and tiff.photometric == GREY_INVERTED and numbers.dtype == np.uint16
    return 65535 - numbers if inverted else numbers
