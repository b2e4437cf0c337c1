"""Supervisely's projects, also Dataset Ninja's: `meta.json`, and `ann/` with a JSON file an image beside `img/`."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key, left_out
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.embedded_picture import embedded_region
from semivl_cli.data.annotation.exported_split import split_of_folders
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.contract import Color
from semivl_cli.documents import Document, Label, Point, as_type
from semivl_cli.errors import InputError, within

_NO_AREA = ("point", "line", "polyline", "graph")
_FARTHEST = 100_000
"""A coordinate of more pixels than this is a mistake."""


class _Bitmap(Document):
    data: str
    origin: Point


class _Rings(Document):
    exterior: list[Point] = Field(default_factory=list)
    interior: list[list[Point]] = Field(default_factory=list)


def _ringed(points: object) -> object:
    return {"exterior": points} if isinstance(points, list) else points or {}  # corners of a turned box are no ring


class _Object(Document):
    classTitle: Label  # noqa: N815 - the tool's name
    geometryType: str | None = None  # noqa: N815
    bitmap: _Bitmap | None = None
    points: Annotated[_Rings, BeforeValidator(_ringed)] = Field(default_factory=_Rings)
    parts: list[_Rings] | None = None
    angle: float = 0


class _Size(Document):
    height: int
    width: int


class _File(Document):
    size: _Size
    objects: list[_Object]


class _Class(Document):
    title: Label
    shape: str | None = None
    color: str | None = None


class _Meta(Document):
    classes: list[_Class]


def find_supervisely(given: Given) -> list[Tree]:
    """Return the whole of what holds a JSON file of an image."""
    return [given.tree] if any(_is_annotation(content) for _, content in given.json) else []


def open_supervisely(source: Tree) -> Annotations:
    """Open a project: any folder in which `ann/` lies at some depth, or a single file of it.

    Raises:
        InputError: if a file lacks what Supervisely writes.
    """
    classes: dict[str, _Class] = {}
    files = []
    for name, file in source.files():
        content = file.json() if file.suffix == ".json" else None
        if _is_annotation(content):
            files.append((name, file))
        elif file.name == "meta.json" and isinstance(content, Mapping) and "classes" in content:
            classes.update(_classes(as_type(content, _Meta, str(file)), file))
    labels: dict[str, None] = {}
    flat: Counter[str] = Counter()
    for _, file in files:
        for one in as_type(file.json(), _File, str(file)).objects:
            kind = _kind(one, classes)
            if _lacks_area(one, kind):
                flat[kind] += 1
            elif kind in _PAINTED:
                labels[one.classTitle] = None
    return Annotations(
        kind="Supervisely project",
        where=str(source.path),
        labels={label: _color(classes[label].color) if label in classes else None for label in labels},
        drawings=lambda: (_drawing(name, file, classes) for name, file in files),
        on_top="what stands later in the file lies on top",
        notes=left_out(flat),
    )


def _classes(meta: _Meta, file: Tree) -> dict[str, _Class]:
    named = {one.title: one for one in meta.classes}
    if len(named) < len(meta.classes):
        twice = next(title for title, times in Counter(one.title for one in meta.classes).items() if times > 1)
        raise InputError(f"{file}: two classes are called {twice!r}")
    return named


def _is_annotation(content: object) -> bool:
    if not isinstance(content, Mapping) or not isinstance(content.get("objects"), list):
        return False
    size = content.get("size")
    return isinstance(size, Mapping) and "height" in size and "width" in size


def _kind(one: _Object, classes: Mapping[str, _Class]) -> str:
    """Return the geometry of an object, which old projects tell by its class alone."""
    if one.geometryType is None and one.bitmap is not None:
        return "bitmap"
    shape = classes[one.classTitle].shape if one.classTitle in classes else None
    return one.geometryType or shape or "polygon"


def _lacks_area(one: _Object, kind: str) -> bool:
    return kind in _NO_AREA or (kind == "polygon" and len(one.points.exterior) < 3)


def _color(text: str | None) -> Color | None:
    if text is None or not re.fullmatch("#[0-9A-Fa-f]{6}", text):
        return None
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def _drawing(name: str, file: Tree, classes: Mapping[str, _Class]) -> Drawing:
    content = as_type(file.json(), _File, str(file))
    *folders, last = (part for part in name.removesuffix(".json").split("/") if part != "ann")
    return Drawing(
        image="/".join((*folders, last)),
        or_else="/".join((*(folder for folder in folders if folder != "datasets"), last)),  # what holds nested ones
        origin=str(file),
        stamp=file.stamp,
        parts=[file],
        size=(content.size.height, content.size.width),
        marks=len(content.objects),
        split=split_of_folders(folders),
        paint=partial(_paint, [(one, _kind(one, classes)) for one in content.objects], str(file)),
    )


def _paint(objects: Sequence[tuple[_Object, str]], origin: str, key: Key, size: tuple[int, int]) -> Canvas:
    """Paint the objects in the order of the file, each over those before."""
    canvas = Canvas(size, key.background)
    for number, (one, kind) in enumerate(objects):
        if _lacks_area(one, kind):
            continue
        with within(f"{origin}: object {number} ({one.classTitle})"):
            paint = _PAINTED.get(kind)
            if paint is None:
                raise InputError(f"the geometry {kind!r} cannot be painted: expected {', '.join(_PAINTED)}")
            paint(canvas, one, key.class_of[one.classTitle])
    return canvas


def _paint_bitmap(canvas: Canvas, one: _Object, class_id: int) -> None:
    if one.bitmap is None:
        raise InputError("it has no bitmap")
    column, row = _whole([one.bitmap.origin])[0]
    canvas.region(embedded_region(one.bitmap.data, canvas.ids.shape), class_id, (int(row), int(column)))


def _paint_polygon(canvas: Canvas, one: _Object, class_id: int) -> None:
    for rings in one.parts if one.parts is not None else [one.points]:
        _fill(canvas, rings, class_id)


def _paint_box(canvas: Canvas, one: _Object, class_id: int) -> None:
    """Paint the box of two corners, both of which are in it; a turned one about its centre."""
    if len(one.points.exterior) != 2:
        raise InputError(f"a box has two corners, this one {len(one.points.exterior)}")
    (left, right), (top, bottom) = (sorted(side) for side in zip(*one.points.exterior, strict=True))
    x, y, cos, sin = (left + right) / 2, (top + bottom) / 2, math.cos(one.angle), math.sin(one.angle)
    moved = [(across - x, down - y) for across, down in ((left, top), (right, top), (right, bottom), (left, bottom))]
    turned = [[x + across * cos - down * sin, y + across * sin + down * cos] for across, down in moved]
    _fill(
        canvas, _Rings(exterior=turned if one.angle else [[x + across, y + down] for across, down in moved]), class_id
    )


def _fill(canvas: Canvas, rings: _Rings, class_id: int) -> None:
    """Fill a polygon with holes as Supervisely draws it: corners are pixels, and so is the outline, which is in it."""
    from semivl_cli.data.read.opencv import cv2  # noqa: PLC0415 - hardly any format needs it

    outside, holes = _whole(rings.exterior), [_whole(ring) for ring in rings.interior if ring]
    height, width = canvas.ids.shape
    left, top = (max(int(side), 0) for side in outside.min(axis=0))
    right, bottom = (min(int(side) + 1, most) for side, most in zip(outside.max(axis=0), (width, height), strict=True))
    if left < right and top < bottom:
        inside = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillPoly(inside, [outside], 1, offset=(-left, -top))
        cv2.fillPoly(inside, holes, 0, offset=(-left, -top))
        canvas.region(inside > 0, class_id, (top, left))


def _whole(points: Sequence[Point]) -> NDArray[np.int32]:
    """Return the pixels `[n, 2]` of points, x and y."""
    if not points:
        raise InputError("it has no corners")
    numbers = np.floor(np.array(points, np.float64))
    if not np.abs(numbers).max() <= _FARTHEST:
        raise InputError(f"it has a coordinate of more than {_FARTHEST} pixels, which is far outside of any image")
    return numbers.astype(np.int32)


_PAINTED = {
    "bitmap": _paint_bitmap,
    "polygon": _paint_polygon,
    "multipolygon": _paint_polygon,
    "rectangle": _paint_box,
    "oriented_bbox": _paint_box,
}

FORMAT = Format(title="Supervisely's projects", find=find_supervisely, open=open_supervisely)
