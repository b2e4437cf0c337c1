"""What a Python program hands over as an image -> uint8 RGB, read as a file of it would be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semivl_cli.data.read.brightness import ValueRange, is_faint, to_rgb
from semivl_cli.data.read.images import Shown, read_shown
from semivl_cli.data.read.orientation import layout_of
from semivl_cli.data.read.picture_files import Picture, decoding
from semivl_cli.errors import InputError
from semivl_cli.limits import check_pixels

ImageLike = str | Path | Image.Image | NDArray[np.uint8] | NDArray[np.uint16]
"""A file, a Pillow image of any mode, or an array `[H, W]`, `[H, W, 1]`, `[H, W, 3]` (RGB) or `[H, W, 4]` (RGBA)."""

_EXPECTED = "expected a path, a Pillow image, or a numpy array of uint8 (0..255) or uint16 (0..65535)"
_NAME = "the image"


def shown_of(image: ImageLike, value_range: ValueRange | None = None) -> Shown:
    """Return an image as a file of it would be shown; what is no image is refused rather than guessed at.

    Raises:
        InputError: the file cannot be read, or an array has another shape or type; says what to do.
    """
    if isinstance(image, str | Path):
        return read_shown(Path(image), value_range)
    if isinstance(image, Image.Image):
        with decoding(_NAME):
            check_pixels(image.height, image.width, _NAME)
            picture = Picture(layout=layout_of(image), pillow=image, tiff=None, content=bytes)
            return Shown(*picture.shown(value_range))
    if not isinstance(image, np.ndarray):
        tensor = type(image).__module__.partition(".")[0] == "torch"
        remedy = ": pass tensor.permute(1, 2, 0).cpu().numpy(), as uint8" if tensor else ""
        raise InputError(f"{_NAME} is a {type(image).__name__}: {_EXPECTED}{remedy}")
    _check(image)
    return Shown(np.ascontiguousarray(to_rgb(image, value_range)), is_faint(image, value_range))


def _check(image: NDArray[np.generic]) -> None:
    kind = image.dtype
    if kind.kind != "u" or kind.itemsize > 2:
        remedies = {
            "f": ": of 0..1 make (255 * image).round().astype('uint8')",
            "b": ": of False and True make 255 * image.astype('uint8')",
            "i": ": where all are 0..255, image.astype('uint8')",
            "u": ": where all are 0..255, image.astype('uint8')",
        }
        raise InputError(f"{_NAME} is an array of {kind}: {_EXPECTED}{remedies.get(kind.kind, '')}")
    shape = "x".join(map(str, image.shape))
    if image.ndim == 4:
        raise InputError(f"{_NAME} is an array of {shape}: expected one image at a time, [H, W, 3]")
    if image.ndim != 2 and not (image.ndim == 3 and image.shape[2] in (1, 3, 4)):
        first = image.ndim == 3 and image.shape[0] in (1, 3, 4)
        remedy = ": channels come last, pass image.transpose(1, 2, 0)" if first else ""
        raise InputError(f"{_NAME} is an array of {shape}: expected [H, W], [H, W, 3] (RGB) or [H, W, 4]{remedy}")
    if not image.size:
        raise InputError(f"{_NAME} is an array of {shape}: it has no pixels")
    check_pixels(image.shape[0], image.shape[1], _NAME)
