"""The meaning of mask values in a folder dataset: `dataset.toml` -> class ids."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import IGNORE, NO_CLASS
from semivl_cli.documents import load_toml, read_bytes
from semivl_cli.errors import InputError

_KEYS = ("values", "ignore", "background", "orientation", "mask_suffix", "image_suffix", "value_range")
_RAW_VALUES = 65536
_SLIP = re.compile(r"-\d+|\d{10,}|#(?![0-9a-fA-F]{6}$)[0-9a-fA-F]*")
"""A number below 0 or far too large, or a colour of too few or too many digits: no label is meant by these."""


def _identity() -> NDArray[np.uint8]:
    """Return the table for masks that hold class ids."""
    table = np.full(_RAW_VALUES + 1, NO_CLASS, np.uint8)
    table[: IGNORE + 1] = np.arange(IGNORE + 1)
    return table


@dataclass(frozen=True, slots=True)
class ValueMap:
    """What raw values and labels mean; by default masks hold class ids and 255 is ignored."""

    table: NDArray[np.uint8] = field(default_factory=_identity)
    """Raw values 0..65535 -> class ids; the last entry is what all other values become."""
    names: Mapping[str, int] = field(default_factory=dict)
    """Labels, numbers and colours (`"#rrggbb"`) of annotation tools -> class id, or 255."""
    background: int | None = None
    """Class id of pixels in no shape, where it is said."""
    named: tuple[int, ...] = ()
    """Class ids that the file names."""
    orientation: Literal["shown", "stored"] | None = None
    """How photographs that are shown turned were drawn on, where that does not show."""
    mask_suffix: str | None = None
    """What the names of masks end in, such as `_mask`, where it is said."""
    image_suffix: str | None = None
    """What the names of images end in beyond that of their masks, where it is said."""
    value_range: tuple[float, float] | None = None
    """Numbers that images of more than 8 bits show black and white, where it is said."""

    def class_ids(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Translate raw values `[H, W]` of any whole-number type."""
        if raw.dtype not in (np.uint8, np.uint16):
            raw = np.clip(raw.astype(np.int64), -1, _RAW_VALUES)  # both ends mean the last entry
        return np.asarray(self.table[raw], np.uint8)


def read_values(path: Path) -> ValueMap:
    """Read `dataset.toml`; without such a file masks hold class ids and 255 is ignored.

    `values`: raw value, label or colour (`"#rrggbb"`) -> class id, as a table or as a list whose place is the raw
    value. `ignore`: what is ignored (255 where no number is given and 255 is not in `values`). `background`: the class
    id of all other raw values, which without it are an error, and of pixels that no polygon or region covers.
    `value_range`: the numbers that images of more than 8 bits show black and white.

    Raises:
        InputError: if the file cannot be understood.
    """
    if not os.path.lexists(path):
        return ValueMap()
    content = _content(path)
    given = _values(path, content["values"]) if "values" in content else {}
    numbers = {key: number for key, number in given.items() if isinstance(key, int)}
    values = numbers if numbers or ("values" in content and not given) else None
    listed = content.get("ignore", [])
    if not isinstance(listed, list) or not all(isinstance(one, str) or _whole(one, _RAW_VALUES) for one in listed):
        raise InputError(f"{path}: ignore = {listed!r}: expected a list of raw mask values or labels, such as [255]")
    ignore = [one for one in listed if isinstance(one, int)]
    if "ignore" not in content or (listed and not ignore):
        ignore = [IGNORE] if values is None or IGNORE not in values else []
    for one in (*given, *listed):
        if isinstance(one, str) and _SLIP.fullmatch(one):
            raise InputError(
                f'{path}: {one!r} is neither a raw value 0..{_RAW_VALUES - 1} nor a colour such as "#804080"'
            )
    both = set(listed) & set(given)
    if both:
        raise InputError(f"{path}: {min(both, key=str)!r} is both in values and in ignore")
    background = content.get("background")
    if "background" in content and not _whole(background, NO_CLASS):
        raise InputError(f"{path}: background = {background!r}: expected a class id, 0..{NO_CLASS - 1}")

    if values is None:
        table = _identity()
        table[IGNORE] = NO_CLASS  # unless it is among the ignored
    else:
        table = np.full(_RAW_VALUES + 1, NO_CLASS if background is None else background, np.uint8)
        table[list(values)] = list(values.values())
    table[ignore] = IGNORE
    meanings = {**given, **dict.fromkeys(listed, IGNORE)}
    names = {_color(str(label)): number for label, number in meanings.items()}  # a label may be a number, too
    named = (*given.values(), *([] if background is None else [background]))
    return ValueMap(
        table, names, background, named, *_names_and_turns(path, content), _range(path, content.get("value_range"))
    )


def _names_and_turns(path: Path, content: Mapping[str, Any]) -> tuple[Any, str | None, str | None]:
    """Return how turned photographs were drawn on, and what the names of masks and images end in."""
    orientation = content.get("orientation")
    if orientation not in (None, "shown", "stored"):
        raise InputError(f'{path}: orientation = {orientation!r}: expected "shown" or "stored"')
    suffixes = content.get("mask_suffix"), content.get("image_suffix")
    for key, suffix in zip(("mask_suffix", "image_suffix"), suffixes, strict=True):
        if suffix is not None and not isinstance(suffix, str):
            raise InputError(f'{path}: {key} = {suffix!r}: expected the end of a name, such as "_mask"')
    return orientation, *suffixes


def _content(path: Path) -> Mapping[str, Any]:
    """Return the keys of the file, all of them known."""
    content = load_toml(read_bytes(path), str(path))
    for key in content:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise InputError(f"{path}: unknown key {key!r}: {hint}known are {', '.join(_KEYS)}")
    return content


def _range(path: Path, given: object) -> tuple[float, float] | None:
    """Return the numbers that images show black and white."""
    if given is None:
        return None
    numbers = [one for one in given if type(one) in (int, float)] if isinstance(given, list) else []
    if len(numbers) != 2 or numbers != given or not -math.inf < numbers[0] < numbers[1] < math.inf:
        raise InputError(
            f"{path}: value_range = {given!r}: expected the numbers that are black and white, such as [0, 4095]"
        )
    return float(numbers[0]), float(numbers[1])


def _values(path: Path, given: object) -> Mapping[int | str, int]:
    """Return raw value, label or colour -> class id."""
    pairs: dict[Any, Any]
    if isinstance(given, list):
        pairs = dict(enumerate(given))
    elif isinstance(given, dict):
        pairs = {int(raw) if raw.isdecimal() and len(raw) < 10 else raw: number for raw, number in given.items()}
    else:
        raise InputError(f"{path}: values = {given!r}: expected raw values and class ids, such as {{ 0 = 0, 255 = 1 }}")
    for raw, number in pairs.items():
        if not (isinstance(raw, str) or _whole(raw, _RAW_VALUES)) or not _whole(number, NO_CLASS):
            raise InputError(
                f"{path}: values: {raw} = {number!r}: expected a raw value 0..{_RAW_VALUES - 1}, a label or a colour, "
                f"and a class id 0..{NO_CLASS - 1}; what has no class belongs in ignore"
            )
    return pairs


def _color(name: str) -> str:
    """Write a colour in lower case, as masks are looked up; other names stay as they are."""
    return name.lower() if name.startswith("#") else name


def _whole(value: object, below: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below
