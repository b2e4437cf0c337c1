"""CVAT for images 1.1: one XML file a task, job or project, with polygons, boxes, ellipses and masks."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key
from semivl_cli.data.annotation.canvas import Canvas, ellipse, rotated
from semivl_cli.data.annotation.exported_split import split_called, split_of_folders
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.annotation.xml_files import parse_xml
from semivl_cli.data.contract import Color
from semivl_cli.errors import InputError, within
from semivl_cli.limits import check_pixels

_WITH_AREA = ("polygon", "box", "ellipse", "mask")
_NO_SHAPE = ("tag", "attribute")
_ROOT = re.compile(rb"<annotations[\s>]")
_COLOR = re.compile("#[0-9a-fA-F]{6}")


def find_cvat(given: Given) -> list[Tree]:
    """Return the XML files whose root is that of CVAT."""
    return [file for file in given.files if file.suffix == ".xml" and _ROOT.search(file.read()[:4096])]


def open_cvat(file: Tree) -> Annotations:
    """Open an export; a frame without any shape is an image without a mask.

    Raises:
        InputError: it is not XML, or is "CVAT for video", whose tracks run through frames of films.
    """
    root = parse_xml(file.read(), str(file))
    if root.tag != "annotations" or root.find("track") is not None:
        raise InputError(f"{file}: expected XML of the format 'CVAT for images 1.1': export it as that")
    colors = dict(_label_colors(root))
    subsets = {number: split_called(name) for number, name in _subsets(root)}
    labels: dict[str, Color | None] = {}
    flat: Counter[str] = Counter()
    drawings = []
    named: Counter[str] = Counter()
    images = root.findall("image")
    for image in images:
        shapes = [shape for shape in image if shape.tag not in _NO_SHAPE]
        if not shapes:
            continue
        flat.update(shape.tag for shape in shapes if shape.tag not in _WITH_AREA)
        solid = sorted((shape for shape in shapes if shape.tag in _WITH_AREA), key=_z_order)
        labels.update((label, colors.get(label)) for label in (shape.get("label", "") for shape in solid))
        name, subset = image.get("name", ""), image.get("subset", "")
        origin = f"{file}: image {image.get('id', '(without id)')}"
        told = split_called(subset) or subsets.get(image.get("task_id", "")) or subsets.get("")
        path = f"{subset}/{name}" if subset else name  # in a project names may repeat
        named[path] += 1
        drawings.append(
            Drawing(
                image=path,
                origin=origin,
                stamp=file.stamp,
                size=_size(image),
                paint=partial(_paint, solid, origin),
                marks=len(shapes),
                split=told or split_of_folders(name.split("/")[:-1]),
            )
        )
    notes = []
    if len(drawings) < len(images):
        notes.append(f"{len(images) - len(drawings)} of {len(images)} images have no shape: they have no mask")
    if flat:
        kinds = ", ".join(f"{kind} ({number})" for kind, number in flat.most_common())
        notes.append(f"shapes that have no area are left out: {kinds}")
    return Annotations(
        kind="CVAT for images",
        where=str(file),
        labels=labels,
        drawings=lambda: [drawing for drawing in drawings if named[drawing.image] == 1],
        strays=[f"{file}: {name}: {many} images are called so" for name, many in named.items() if many > 1],
        notes=notes,
        on_top="the higher z_order lies on top, of equal ones what is drawn later",
    )


def _label_colors(root: Element) -> Iterator[tuple[str, Color]]:
    for label in root.iterfind("meta/*/labels/label"):
        color = label.findtext("color", "").strip()
        if _COLOR.fullmatch(color):
            red, green, blue = bytes.fromhex(color[1:])
            yield label.findtext("name", "").strip(), (red, green, blue)


def _subsets(root: Element) -> Iterator[tuple[str, str]]:
    """Yield the subset of every task by its id, and by no id that of the only one."""
    for task in root.iterfind("meta//task"):
        yield task.findtext("id", "").strip(), task.findtext("subset", "")
    yield "", root.findtext("meta/task/subset", "") or root.findtext("meta/job/subset", "")


def _z_order(shape: Element) -> int:
    text = shape.get("z_order", "0")
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else 0


def _size(image: Element) -> tuple[int, int] | None:
    sides = [image.get(side, "") for side in ("height", "width")]
    return (int(sides[0]), int(sides[1])) if all(re.fullmatch(r"[0-9]{1,9}", side) for side in sides) else None


def _paint(shapes: Sequence[Element], origin: str, key: Key, size: tuple[int, int]) -> Canvas:
    canvas = Canvas(size, key.background)
    for shape in shapes:
        label = shape.get("label", "")
        with within(f"{origin}: {shape.tag} ({label})"):
            _paint_shape(canvas, shape, key.class_of[label])
    return canvas


def _paint_shape(canvas: Canvas, shape: Element, class_id: int) -> None:
    if shape.tag == "polygon":
        canvas.polygon(_points(shape.get("points", "")), class_id)
    elif shape.tag == "mask":
        canvas.region(_inside(shape), class_id, (_whole(shape, "top"), _whole(shape, "left")))
    elif shape.tag == "box":
        left, top, right, bottom = (_number(shape, name) for name in ("xtl", "ytl", "xbr", "ybr"))
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        canvas.polygon(rotated(corners, ((left + right) / 2, (top + bottom) / 2), _rotation(shape)), class_id)
    else:
        x, y, across, down = (_number(shape, name) for name in ("cx", "cy", "rx", "ry"))
        canvas.polygon(rotated(ellipse(x, y, across, down), (x, y), _rotation(shape)), class_id)


def _points(text: str) -> list[tuple[float, float]]:
    """Return the corners `x,y;x,y;...`."""
    try:
        return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split(";"))]
    except ValueError as error:
        raise InputError(f"expected points such as 10.00,5.50;20.00,5.50, got {text[:40]!r}") from error


def _rotation(shape: Element) -> float:
    return _number(shape, "rotation") if "rotation" in shape.attrib else 0


def _inside(shape: Element) -> NDArray[np.bool_]:
    """Return the region `[height, width]` of a mask, whose runs go along the rows and begin with one outside."""
    width, height = (_whole(shape, name) for name in ("width", "height"))
    check_pixels(height, width, "its mask")
    try:
        runs = np.array([int(run) for run in shape.get("rle", "").split(",")], np.int64)
    except (ValueError, OverflowError) as error:
        raise InputError("its rle holds what is no whole number") from error
    if min(width, height) < 1 or (runs < 0).any() or (runs > width * height).any() or runs.sum() != width * height:
        raise InputError(f"its rle does not fill its {width} x {height} pixels (width x height)")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)


def _number(shape: Element, name: str) -> float:
    try:
        return float(shape.get(name, ""))
    except ValueError as error:
        raise InputError(f"expected a number for {name}, got {shape.get(name)!r}") from error


def _whole(shape: Element, name: str) -> int:
    number = _number(shape, name)
    if not (math.isfinite(number) and number == int(number) and abs(number) < 10**9):
        raise InputError(f"expected a whole number for {name}, got {shape.get(name)!r}")
    return int(number)


FORMAT = Format(title="CVAT for images XML", find=find_cvat, open=open_cvat)
