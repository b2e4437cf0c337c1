"""Reads a region that a tool wrote into a text as a picture: a PNG in base64, perhaps packed once more."""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.read.picture_files import Picture, open_picture
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

    def region(picture: Picture) -> NDArray[np.bool_]:
        own_height, own_width = picture.layout.stored
        if own_height > height or own_width > width:
            raise InputError(
                f"{own_width} x {own_height} pixels (width x height), more than those of the image, {width} x {height}"
            )
        if picture.pillow is not None and picture.pillow.has_transparency_data:
            return np.array(picture.pillow.convert("RGBA").getchannel("A")) > 0
        if picture.pillow is not None and picture.pillow.mode in ("1", "L", "I", "I;16"):
            return np.array(picture.pillow) > 0  # however little a 1 of many bits is
        return np.asarray(picture.shown()[0].max(axis=2) > 0)

    return open_picture(content, "its picture", region)


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
