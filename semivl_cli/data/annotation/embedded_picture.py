"""Reads a region that a tool wrote into a text as a picture: a PNG in base64, perhaps packed once more."""

from __future__ import annotations

import base64
import io
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semivl_cli.data.read.images import decoding
from semivl_cli.errors import InputError


def embedded_region(text: str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the region `[h, w]`: what is opaque, or where nothing is transparent, what is not black.

    Args:
        text: base64 of a picture, or of one that is packed by zlib.
        size: `(H, W)` of the image, which the picture must not exceed.

    Raises:
        InputError: if it is no such text, or larger than the image.
    """
    height, width = size
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise InputError("its picture is no base64 text") from error
    if content[:1] == b"\x78":
        content = _unpacked(content, 4 * height * width + 2**20)
    with decoding("its picture"), Image.open(io.BytesIO(content)) as picture:
        if picture.height > height or picture.width > width:
            raise InputError(
                f"its picture is {picture.width} x {picture.height} pixels (width x height), "
                f"more than those of the image, {width} x {height}"
            )
        if picture.has_transparency_data:
            return np.array(picture.convert("RGBA").getchannel("A")) > 0
        if picture.mode in ("1", "L"):
            return np.array(picture) > 0
        return np.array(picture.convert("RGB")).any(axis=2)


def _unpacked(content: bytes, most: int) -> bytes:
    """Unpack no more bytes than a picture of the image's size can have."""
    packed = zlib.decompressobj()
    try:
        unpacked = packed.decompress(content, most)
    except zlib.error as error:
        raise InputError(f"its picture cannot be unpacked ({error})") from error
    if packed.unconsumed_tail:
        raise InputError(f"its picture unpacks to more than {most} bytes, more than the image can need")
    return unpacked
