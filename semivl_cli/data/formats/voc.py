"""CVAT's "Segmentation mask" archive and other exports in the layout of Pascal VOC: masks and `labelmap.txt`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from semivl_cli.errors import InputError

FOLDERS = ("SegmentationClass", "SegmentationClassAug", "SegmentationClassPNG")
_IGNORED = "__ignore__"
"""What labelme calls the value that stands before its first class."""


@dataclass(frozen=True, slots=True)
class _LabelMap:
    """What the values and colours of the masks are called."""

    values: Mapping[int, str]
    colors: Mapping[str, str]
    """Colour as `"#rrggbb"` -> label; none where values count, not colours."""


def find_voc(given: Given) -> list[Tree]:
    """Return the whole of a folder or archive with a label map, or with a folder of masks of the known names."""
    return [given.tree] if given.holds("labelmap.txt", "class_names.txt") or given.folders & set(FOLDERS) else []


def open_voc(source: Tree) -> Annotations:
    """Open masks in `SegmentationClass/`, which `labelmap.txt` or `class_names.txt` explains; else values are ids."""
    label_map: _LabelMap | None = None
    labels: dict[str, Color | None] = {}
    masks: list[tuple[str, Tree]] = []
    for name, file in source.files():
        folders = name.split("/")[:-1]
        if file.name.lower() == "labelmap.txt":
            colored = dict(_read_labels(file))
            labels = {**colored}
            label_map = _LabelMap(dict(enumerate(colored)), {to_hex(color): name for name, color in colored.items()})
        elif file.name.lower() == "class_names.txt" and label_map is None:
            names = [line.strip() for line in file.text().splitlines() if line.strip()]
            first = -1 if names[:1] == [_IGNORED] else 0
            labels = dict.fromkeys(names[-first:])
            label_map = _LabelMap({value: name for value, name in enumerate(names, first) if value >= 0}, {})
        elif file.is_picture and any(folder in FOLDERS for folder in folders):
            below = max(depth for depth, folder in enumerate(folders) if folder in FOLDERS) + 1
            masks.append(("/".join(name.split("/")[below:]), file))
    explained = label_map

    def drawings() -> Iterator[Drawing]:
        for name, file in masks:
            paint = partial(_paint, file, explained)
            stamp = f"{file.stamp} {explained}"  # a colour that is called otherwise is another drawing
            yield Drawing(image=name, origin=str(file), stamp=stamp, paint=paint, picture=file)

    return Annotations(
        kind="masks in the layout of CVAT and Pascal VOC" + (" with a label map" if label_map else ""),
        where=str(source.path),
        labels=labels,
        drawings=drawings,
        shapes=label_map is not None,
    )


def _read_labels(file: Tree) -> Iterator[tuple[str, Color]]:
    """Yield label and colour of each line `name:red,green,blue:parts:actions`."""
    for number, line in enumerate(file.text().splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, *rest = line.split(":")
        try:
            red, green, blue = (int(part) for part in rest[0].split(","))
            bytes((red, green, blue))
        except (IndexError, ValueError) as error:
            raise InputError(f"{file}:{number}: expected name:red,green,blue::, got {line!r}") from error
        yield name.strip(), (red, green, blue)


def _paint(file: Tree, label_map: _LabelMap | None, key: Key, size: tuple[int, int]) -> Canvas:
    if label_map is None:
        return paint_mask(file, key, size)
    colors = {color: key.class_of[label] for color, label in label_map.colors.items()}
    table = np.full(65536, NO_CLASS, np.uint8)
    table[IGNORE] = IGNORE
    for value, label in label_map.values.items():
        table[value] = key.class_of[label]
    explained = replace(key, class_of=colors, class_ids=lambda raw: table[np.clip(raw, 0, 65535)])
    return paint_mask(file, explained, size, palette=bool(colors))


FORMAT = Format(
    title="CVAT's Segmentation mask archive, Pascal VOC's layout", find=find_voc, open=open_voc, images="JPEGImages"
)
