"""CVAT's "Segmentation mask" archive and other exports in the layout of Pascal VOC: masks and `labelmap.txt`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from semivl_cli.class_ids import IGNORE, NO_CLASS
from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key, to_hex
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.label_pictures import paint_mask
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.contract import Color
from semivl_cli.data.formats.split_lists import splits_of_lists
from semivl_cli.errors import InputError, listed
from semivl_cli.files import bare

FOLDERS = ("SegmentationClass", "SegmentationClassAug", "SegmentationClassPNG")
_LINE = re.compile(r"(.+?)\s*:\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*(\d{1,4})\s*(?::.*)?|([^:]+):\s*:.*")
_IGNORED = "__ignore__"
"""What labelme calls the value that stands before its first class."""


@dataclass(frozen=True, slots=True)
class LabelMap:
    """What the values and colours of the masks are called."""

    values: Mapping[int, str]
    colors: Mapping[str, str]
    """Colour as `"#rrggbb"` -> label; none where values count, not colours."""
    labels: Mapping[str, Color | None]


def find_voc(given: Given) -> list[Tree]:
    """Return the whole of a folder or archive with a label map, or with a folder of masks of the known names."""
    return [given.tree] if given.holds("labelmap.txt", "class_names.txt") or given.folders & set(FOLDERS) else []


def open_voc(source: Tree) -> Annotations:
    """Open masks in `SegmentationClass/`, which `labelmap.txt` or `class_names.txt` explains; else values are ids.

    Raises:
        InputError: if what explains them is broken or contradicts itself.
    """
    label_map: LabelMap | None = None
    told_by: Tree | None = None
    masks: list[tuple[str, Tree]] = []
    lists: dict[str, Sequence[str]] = {}
    for name, file in source.files():
        folders = name.split("/")[:-1]
        read = _READERS.get(file.name.lower())
        if read is not None:
            found = read(file)
            if label_map is not None and found != label_map:
                raise InputError(f"{told_by} and {file} explain the masks differently: leave one of them out")
            label_map, told_by = found, file
        elif folders[-2:] == ["ImageSets", "Segmentation"] and file.suffix == ".txt":
            lists[name] = file.text().splitlines()
        elif file.is_picture and any(folder in FOLDERS for folder in folders):
            below = max(depth for depth, folder in enumerate(folders) if folder in FOLDERS) + 1
            masks.append(("/".join(name.split("/")[below:]), file))
    explained = label_map
    splits = splits_of_lists([bare(name) for name, _ in masks], lists)

    def drawings() -> Iterator[Drawing]:
        for name, file in masks:
            paint = partial(paint_explained, file, explained) if explained else partial(paint_mask, file)
            stamp = f"{file.stamp} {explained}"  # a colour that is called otherwise is another drawing
            split = splits.get(bare(name))
            yield Drawing(image=name, origin=str(file), stamp=stamp, paint=paint, picture=file, split=split)

    return Annotations(
        kind="masks in the layout of CVAT and Pascal VOC" + (" with a label map" if label_map else ""),
        where=str(source),
        labels=label_map.labels if label_map else {},
        drawings=drawings,
        shapes=label_map is not None,
        some_unseen=label_map is not None,
    )


def _read_label_map(file: Tree) -> LabelMap:
    """Read lines `name:red,green,blue:parts:actions`, with colours or all without."""
    values: list[str] = []
    colors: dict[str, str] = {}
    labels: dict[str, Color | None] = {}
    for number, line in enumerate(file.text().splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        color = tuple(int(part) for part in found.groups()[1:4] if part) if found else ()
        if found is None or any(part > 255 for part in color):
            raise InputError(f"{file}:{number}: expected name:red,green,blue::, got {line[:60]!r}")
        name = (found[1] or found[5]).strip()
        values.append(name)
        labels.setdefault(name, None)
        if len(color) == 3:
            labels[name] = color
            other = colors.setdefault(to_hex(color), name)
            if other != name:
                raise InputError(
                    f"{file}:{number}: the labels {other!r} and {name!r} both have the colour {to_hex(color)}: the "
                    "masks cannot tell them apart: give each its own colour, and export again"
                )
    return LabelMap(dict(enumerate(values)), colors, labels)


def _read_class_names(file: Tree) -> LabelMap:
    """Read labelme's list: a name a line by value, counted from -1 where it begins with what is ignored."""
    names = [line.strip() for line in file.text().splitlines() if line.strip()]
    first = -1 if names[:1] == [_IGNORED] else 0
    values = {value: name for value, name in enumerate(names, first) if value >= 0}
    return LabelMap(values, {}, dict.fromkeys(values.values()))


_READERS = {"labelmap.txt": _read_label_map, "class_names.txt": _read_class_names}


def paint_explained(file: Tree, label_map: LabelMap, key: Key, size: tuple[int, int]) -> Canvas:
    """Paint a mask by what its values or its colours are called.

    Raises:
        InputError: as `paint_mask` does, and where it shows a label that is no class; names those that are none.
    """
    classes = {label: key.class_of[label] for label in label_map.labels}
    table = np.full(65536, NO_CLASS, np.uint8)
    table[IGNORE] = IGNORE
    for value, label in label_map.values.items():
        if value < len(table):
            table[value] = classes[label]
    colors = {color: classes[label] for color, label in label_map.colors.items() if classes[label] != NO_CLASS}
    explained = replace(key, class_of=colors, class_ids=lambda raw: table[np.clip(raw, 0, 65535)])
    try:
        return paint_mask(file, explained, size, palette=bool(label_map.colors))
    except InputError as error:
        called = {label: color for color, label in label_map.colors.items()} or {
            label: str(value) for value, label in label_map.values.items()
        }
        unknown = [f"{label!r} ({called.get(label)})" for label, number in classes.items() if number == NO_CLASS]
        if not unknown:
            raise
        raise InputError(f"{error}; labels that are no class: {listed(unknown)}") from error


FORMAT = Format(
    title="CVAT's Segmentation mask archive, Pascal VOC's layout", find=find_voc, open=open_voc, images="JPEGImages"
)
