"""Whether palette masks mean their indices, as they should, or the colours of their palettes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from semivl_cli.class_ids import IGNORE, NO_CLASS
from semivl_cli.data.annotation.annotations import Key, to_hex
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.contract import Color
from semivl_cli.data.read.picture_files import Picture
from semivl_cli.errors import InputError
from semivl_cli.processes import in_threads

Palette = NDArray[np.uint8]
"""Colours `[N, 3]` by index."""


def palette_of(opened: Picture) -> Palette | None:
    """Return the palette of a picture of which only the header was read, if it has one."""
    picture = opened.pillow
    if picture is None or picture.mode != "P" or picture.palette is None:
        return None
    kind = picture.palette.rawmode or picture.palette.mode
    raw = np.frombuffer(bytes(picture.palette.palette), np.uint8)
    if kind == "RGB;L":  # of a TIFF: all reds first
        return raw[: len(raw) // 3 * 3].reshape(3, -1).T
    wide = 4 if kind in ("RGBA", "RGBX", "BGRX", "BGRA") else 3
    colors = raw[: len(raw) // wide * wide].reshape(-1, wide)[:, :3]
    return colors[:, ::-1] if kind.startswith("BGR") else colors


class Palettes:
    """What the palettes of some masks show; asked file by file, decided for all."""

    def __init__(self, key: Key) -> None:
        """Know the colours of the classes, and what indices and greys mean."""
        self._by_index = key.class_ids(np.arange(256, dtype=np.uint16))
        self._colors = {name: number for name, number in key.class_of.items() if name[:1] == "#"}
        known = {*range(len(key.names)), IGNORE}
        ids = {to_hex([grey] * 3): number for grey, number in enumerate(self._by_index.tolist()) if number in known}
        self._greys = {grey: self._colors.get(grey, number) for grey, number in ids.items()}
        """Those of class ids: whoever packs a grey mask tightly gives it a palette of the greys in it."""
        self.key = replace(key, by_palette=True, class_of=ids | dict(key.class_of))
        """What colours are read with, where they count."""
        self._first: bytes | None = None
        self.questionable = False
        """Whether indices may mean nothing: palettes differ, or one shows a class at another index than its own."""

    def add(self, palette: Palette) -> None:
        """Look at the palette of a file."""
        raw = palette.tobytes()
        if raw == self._first:
            return
        self.questionable |= self._first is not None or self._out_of_order(palette)
        self._first = raw

    def by_color(self, files: Callable[[], Iterable[Tree]]) -> bool:
        """Decide whether colours count; `files` are asked for, and all read, only where there is a question.

        Raises:
            InputError: palettes differ in what is used, and are not those of the classes: nothing tells what is meant.
        """
        if not self.questionable:
            return False
        seen: dict[int, dict[str, Tree]] = {}
        distinct = True
        for file, used in in_threads(used_colors, files()):
            distinct &= len(set(used.values())) == len(used)  # else colours tell less than indices
            for index, color in ((index, to_hex(color)) for index, color in used.items()):
                if color in self._colors or self._by_index[index] != IGNORE:
                    seen.setdefault(index, {}).setdefault(color, file)
        shown = {color for colors in seen.values() for color in colors}
        binary = shown <= {"#000000", "#ffffff"} and self._greys.get("#ffffff") == IGNORE  # indices 0 and 1, mostly
        meant = self._greys if shown <= self._greys.keys() and not binary else self._colors
        all_classes = distinct and shown <= meant.keys()
        differing = next(((index, colors) for index, colors in seen.items() if len(colors) > 1), None)
        if all_classes:
            pairs = [(index, color) for index, colors in seen.items() for color in colors]
            moved = any(meant[color] != self._by_index[index] for index, color in pairs)
            return differing is not None or (moved and len(pairs) > 1)
        if differing is not None:
            index, colors = differing
            (one, first), (other, second), *_ = colors.items()
            raise InputError(
                f"the palettes of {first} and {second} differ: index {index} is {one} in one and {other} in "
                "the other, and not all are colours of classes: are indices meant, save the masks as grey PNG; are "
                "colours meant, give the classes these colours"
            )
        return False

    def _out_of_order(self, palette: Palette) -> bool:
        """Whether a palette has the colour of a class, but nowhere at an index of that class."""
        known = self._greys | self._colors
        places: dict[int, set[int]] = {}
        for index, color in enumerate(map(to_hex, palette.tolist())):
            if color in known:
                places.setdefault(known[color], set()).add(int(self._by_index[index]))
        return any(number not in meant for number, meant in places.items() if number != NO_CLASS)


def used_colors(file: Tree) -> dict[int, Color]:
    """Return the indices that a mask uses, with their colours; none where it has no palette, or cannot be read."""

    def colors(picture: Picture) -> dict[int, Color]:
        palette = palette_of(picture)
        if palette is None:
            return {}
        known = [(red, green, blue) for red, green, blue in palette.tolist()]
        return {index: known[index] for index in np.unique(np.asarray(picture.pillow)).tolist() if index < len(known)}

    try:
        return file.look(colors)
    except InputError:  # told when it is painted, or looked at
        return {}
