"""The classes that sources seem to have: the labels of tools, or the values and colours of masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from semivl_cli.class_ids import IGNORE, MOST_CLASSES
from semivl_cli.data.annotation.annotations import NO_LABEL, NO_SHAPE, Annotations, plain_name, to_hex
from semivl_cli.data.annotation.label_pictures import count_colors, read_picture
from semivl_cli.data.annotation.palettes import used_colors
from semivl_cli.data.contract import Color, Found
from semivl_cli.errors import InputError


def classes_of(sources: Sequence[Annotations]) -> Found:
    """Return the labels of the sources that have labels, else what the pixels of masks show.

    Raises:
        InputError: if there are no labels and no values, or more than a definition can hold.
    """
    labels = {label: color for source in sources for label, color in source.labels.items() if label not in source.void}
    if labels:
        grounds = [color for label, color in labels.items() if _is_ground(label)]
        some_ground = any(source.shapes for source in sources if source.labels) or bool(grounds)
        ground = [("background", next((color for color in grounds if color), (0, 0, 0)))] if some_ground else []
        return Found(classes=_limited(_colored_once([*ground, *_drawn(labels)])))
    return _shown(sources)


def _is_ground(label: str) -> bool:
    return bool({plain_name(label), label.casefold()} & NO_SHAPE)


def _drawn(labels: Mapping[str, Color | None]) -> Iterator[tuple[str, Color | None]]:
    """Yield the labels that are classes; of those whose names are compared as equal the first."""
    seen = set(NO_LABEL)
    for label, color in labels.items():
        if not _is_ground(label) and plain_name(label) not in seen:
            seen.add(plain_name(label))
            yield label, color


def _colored_once(classes: Sequence[tuple[str, Color | None]]) -> Iterator[tuple[str, Color | None]]:
    """Yield the classes; of those of one colour the first keeps it."""
    taken = set[Color]()
    for name, color in classes:
        yield name, None if color in taken else color
        if color is not None:
            taken.add(color)


def _shown(sources: Sequence[Annotations]) -> Found:
    """Return a class for each value of index masks but 255, or for each colour of masks of colours.

    Of palette masks the values count, unless the same ones have other colours in other files.
    """
    values, colors = np.zeros(65536, np.bool_), set[Color]()
    of_index: dict[int, set[Color]] = {}
    masks = (drawing.picture for source in sources for drawing in source.drawings() if drawing.picture is not None)
    for mask in masks:
        used = used_colors(mask)
        for index, color in used.items():
            of_index.setdefault(index, set()).add(color)
        pixels = read_picture(mask) if not used else np.array(list(used), np.uint8)
        if pixels.ndim == 3:
            colors.update((int(r), int(g), int(b)) for r, g, b in count_colors(pixels)[0])
        else:
            values[np.unique(np.clip(pixels, 0, 65535))] = True
    if any(len(seen) > 1 for seen in of_index.values()):
        values[list(of_index)] = False
        colors.update(color for seen in of_index.values() for color in seen)
    if colors and not values.any():
        return Found(classes=_limited([(to_hex(color), color) for color in sorted(colors)]))
    found = [int(value) for value in np.flatnonzero(values) if value != IGNORE]
    if not found:
        raise InputError("no mask shows any class: expected masks with class ids or colours, or --from a tool's export")
    if found == [0] and values[IGNORE]:  # 255 may be ignored, or the class that is meant: the user must say
        return Found(classes=[("class 0", None), (f"class {IGNORE}", None)])
    plain = found[-1] < MOST_CLASSES
    numbers = list(range(found[-1] + 1)) if plain and len(found) * 2 > found[-1] else found
    return Found(
        classes=_limited([(f"class {number}", None) for number in numbers]),
        values=() if numbers == list(range(len(numbers))) else numbers,
    )


def _limited(found: Iterable[tuple[str, Color | None]]) -> Sequence[tuple[str, Color | None]]:
    classes = list(found)
    if len(classes) > MOST_CLASSES:
        raise InputError(
            f"the masks show {len(classes)} values or colours, more than classes can be ({MOST_CLASSES}): are they "
            "smoothed, compressed as JPEG, or ids of instances?"
        )
    return classes
