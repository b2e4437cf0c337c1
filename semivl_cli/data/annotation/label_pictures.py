"""Pictures of labels: index and palette masks, masks of colours, one picture a class."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semivl_cli.class_ids import IGNORE, NO_CLASS
from semivl_cli.data.annotation.annotations import Key
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.read.images import check_ids, check_size, decoding, whole_numbers
from semivl_cli.data.read.orientation import turn
from semivl_cli.errors import InputError

_SHOWN = 3


def read_picture(file: Tree, palette: bool = False) -> NDArray[Any]:
    """Read a picture of labels: whole numbers `[H, W]`, or colours uint8 `[H, W, 3]`.

    A palette PNG gives its indices, or the colours of its palette if `palette` asks for them.

    Raises:
        InputError: if it cannot be read, is transparent anywhere, or holds fractions.
    """
    content = file.read()
    if not content:
        raise InputError(f"{file}: the file is empty")
    with decoding(str(file)), Image.open(io.BytesIO(content)) as opened:
        picture = turn(opened)
        if picture.mode == "P" and palette:
            return np.array(picture.convert("RGB"))
        values = whole_numbers(picture)
        if values is not None:
            return values
        if picture.mode not in ("RGB", "RGBA", "LA"):
            raise InputError(
                f"{file}: a mask holds class ids, or colours of classes, in whole numbers; this one is {picture.mode}"
            )
        if picture.mode == "RGB":
            return np.array(picture)
        pixels = np.array(picture)
    see_through = int(np.count_nonzero(pixels[..., -1] < 255))
    if see_through:
        raise InputError(
            f"{file}: {see_through} pixels of the mask are transparent, which means no class: save it without "
            f"transparency (alpha)"
        )
    return pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]


def paint_mask(file: Tree, key: Key, size: tuple[int, int], palette: bool = False) -> Canvas:
    """Paint a mask that covers the whole image, by its values or its colours (`palette`: those of its palette).

    Raises:
        InputError: if it cannot be read, has another size, or holds a value or colour that means no class.
    """
    pixels = read_picture(file, palette)
    check_size(str(file), pixels.shape, size)
    if pixels.ndim == 3:
        return Canvas.whole(_ids_of_colors(pixels, key, str(file)))
    return Canvas.whole(check_ids(key.class_ids(pixels), pixels, key.names, str(file)))


def paint_layers(layers: Sequence[tuple[str, Tree]], key: Key, size: tuple[int, int]) -> Canvas:
    """Paint one picture a class, by the order of the ids: where it is not 0, there is the class.

    Raises:
        InputError: if one cannot be read, has another size, or holds more than one value beside 0.
    """
    canvas = Canvas(size, key.background)
    for label, file in sorted(layers, key=lambda layer: key.class_of[layer[0]]):
        pixels = read_picture(file)
        check_size(str(file), pixels.shape, size)
        if pixels.ndim == 3:
            pixels = pixels.max(axis=2)
        values = np.unique(pixels)
        if len(values[values != 0]) > 1:
            raise InputError(
                f"{file}: a mask of one class holds 0 and one other value, this one holds {len(values)} values "
                f"({', '.join(str(value) for value in values[:5])}, ...): save it without compression or smoothing"
            )
        canvas.region(pixels != 0, key.class_of[label])
    return canvas


def count_colors(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the colours `[C, 3]` of `[H, W, 3]` and how many pixels have each."""
    codes, counts = np.unique(_codes(pixels), return_counts=True)
    return np.stack((codes >> 16, codes >> 8 & 255, codes & 255), axis=1).astype(np.uint8), counts


def _ids_of_colors(pixels: NDArray[np.uint8], key: Key, name: str) -> NDArray[np.uint8]:
    codes = _codes(pixels)
    found, inverse = np.unique(codes, return_inverse=True)
    ids = np.array([key.class_of.get(f"#{code:06x}", NO_CLASS) for code in found.tolist()], np.uint8)
    result = ids[inverse.reshape(codes.shape)]
    for color in (f"#{code:06x}" for code in found.tolist()):
        if color in key.shared:
            raise InputError(
                f"{name}: the colour {color} is that of {key.shared[color]}: give them different colours, or say in "
                f'dataset.toml which it is: values = {{ "{color}" = 0 }}'
            )
    if (ids == NO_CLASS).any():
        counts = np.bincount(inverse.ravel())
        off = np.flatnonzero(ids == NO_CLASS)
        off = off[np.argsort(-counts[off], kind="stable")]
        shown = ", ".join(f"#{found[index]:06x} ({counts[index]} pixels)" for index in off[:_SHOWN])
        more = f" and {len(off) - _SHOWN} more" if len(off) > _SHOWN else ""
        what = f"the colours {shown}{more} are no classes" if off[1:].size else f"the colour {shown} is no class"
        colors = ((color, number) for color, number in key.class_of.items() if color[:1] == "#" and number != NO_CLASS)
        known = ", ".join(f"{color} {'ignored' if number == IGNORE else key.names[number]}" for color, number in colors)
        grey = bool((pixels == pixels[..., :1]).all())
        raise InputError(f"{name}: {_cause(len(off), grey)}: {what}; the colours are {known}")
    return result


def _cause(colors: int, grey: bool) -> str:
    if grey:
        return "its three channels are equal (if they are class ids, save one channel)"
    if colors > 20:
        return "its colours look compressed (JPEG) or smoothed, save it as PNG without either"
    return "colours that mean nothing"


def _codes(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    wide = pixels.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
