"""Pictures of labels: index and palette masks, masks of colours, one picture a class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from semivl_cli.class_ids import IGNORE, NO_CLASS
from semivl_cli.data.annotation.annotations import Key
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.read.images import check_ids, check_size
from semivl_cli.data.read.orientation import turn
from semivl_cli.data.read.picture_files import Picture, open_picture
from semivl_cli.errors import InputError

_SHOWN = 3
_COLOR = re.compile("#[0-9a-f]{6}")


def read_picture(file: Tree, palette: bool = False, size: tuple[int, int] | None = None) -> NDArray[Any]:
    """Read a picture of labels: whole numbers `[H, W]`, or colours uint8 `[H, W, 3]`.

    A palette PNG gives its indices, or the colours of its palette if `palette` asks for them.

    Raises:
        InputError: if it has another `size` (its header tells), cannot be read, is transparent anywhere, or holds
            fractions.
    """

    def read(picture: Picture) -> NDArray[Any]:
        if size is not None:
            check_size(str(file), picture.layout.shown, size)
        if palette and picture.pillow is not None and picture.pillow.mode == "P":
            return np.array(turn(picture.pillow).convert("RGB"))
        values = picture.whole_numbers()
        if values is None and picture.pillow is not None and picture.pillow.mode in ("RGB", "RGBA", "LA"):
            return _opaque(np.array(turn(picture.pillow)), picture.pillow.mode)
        if values is None:
            raise InputError(f"a mask holds class ids, or colours of classes, in whole numbers; this one is {picture}")
        return values

    return open_picture(file.read(), str(file), read)


def _opaque(pixels: NDArray[np.uint8], mode: str) -> NDArray[np.uint8]:
    """Return `[H, W]` or `[H, W, 3]` without alpha; raises `InputError` where it is transparent."""
    if mode == "RGB":
        return pixels
    see_through = int(np.count_nonzero(pixels[..., -1] < 255))
    if see_through:
        raise InputError(
            f"{see_through} pixels of the mask are transparent, which means no class: save it without "
            f"transparency (alpha)"
        )
    return pixels[..., 0] if mode == "LA" else pixels[..., :3]


def paint_mask(file: Tree, key: Key, size: tuple[int, int], palette: bool = False) -> Canvas:
    """Paint a mask that covers the whole image, by its values or its colours (`palette`: those of its palette).

    Raises:
        InputError: if it cannot be read, has another size, or holds a value or colour that means no class.
    """
    pixels = read_picture(file, palette or key.by_palette, size)
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
        pixels = read_picture(file, size=size)
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
    colors = ((int(color[1:], 16), number) for color, number in key.class_of.items() if _COLOR.fullmatch(color))
    codes = _codes(pixels)
    result = _table(tuple(colors))[codes]
    if (result == NO_CLASS).any():
        _refuse_colors(codes[result == NO_CLASS], key, name, grey=bool((pixels == pixels[..., :1]).all()))
    return result


@lru_cache(maxsize=4)
def _table(colors: tuple[tuple[int, int], ...]) -> NDArray[np.uint8]:
    """Return the class id of every colour there is: 16 MB, which masks of one source share."""
    table = np.full(1 << 24, NO_CLASS, np.uint8)
    for code, number in colors:
        table[code] = number
    return table


def _refuse_colors(codes: NDArray[np.uint32], key: Key, name: str, *, grey: bool) -> NoReturn:
    """Raise `InputError` for the colours of pixels that are no class."""
    found, counts = np.unique(codes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    off = [f"#{code:06x}" for code in found[order].tolist()]
    for color in off:
        if color in key.shared:
            raise InputError(
                f"{name}: the colour {color} is that of {key.shared[color]}: give them different colours, or say in "
                f'dataset.toml which it is: values = {{ "{color}" = 0 }}'
            )
    shown = ", ".join(f"{color} ({count} pixels)" for color, count in zip(off, counts[order][:_SHOWN], strict=False))
    more = f" and {len(off) - _SHOWN} more" if len(off) > _SHOWN else ""
    what = f"the colours {shown}{more} are no classes" if off[1:] else f"the colour {shown} is no class"
    colors = ((color, number) for color, number in key.class_of.items() if color[:1] == "#" and number != NO_CLASS)
    known = ", ".join(f"{color} {'ignored' if number == IGNORE else key.names[number]}" for color, number in colors)
    raise InputError(f"{name}: {_cause(len(off), grey)}: {what}; the colours are {known}")


def _cause(colors: int, grey: bool) -> str:
    if grey:
        return "its three channels are equal (if they are class ids, save one channel)"
    if colors > 20:
        return "its colours look compressed (JPEG) or smoothed, save it as PNG without either"
    return "colours that mean nothing"


def _codes(pixels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    codes = pixels[..., 0].astype(np.uint32)
    for channel in (1, 2):
        codes <<= 8
        codes |= pixels[..., channel]
    return codes
