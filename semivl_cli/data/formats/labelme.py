"""labelme JSON, also AnyLabeling's and X-AnyLabeling's: one file an image, with shapes and masks in pixels."""

from __future__ import annotations

import math
import posixpath
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import PurePosixPath

from pydantic import Field

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key, left_out
from semivl_cli.data.annotation.canvas import Canvas, ellipse
from semivl_cli.data.annotation.embedded_picture import embedded_region
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.documents import Document, Label, Point, as_type
from semivl_cli.errors import InputError, listed, within

_NO_AREA = ("point", "points", "line", "linestrip")


class _Shape(Document):
    label: Label
    points: list[Point] = Field(default_factory=list)
    shape_type: str | None = None
    mask: str | None = None

    @property
    def kind(self) -> str:
        """The type of the shape; labelme 3 wrote none for polygons."""
        return self.shape_type or "polygon"

    @property
    def without_area(self) -> str:
        """Why it has no area, or nothing."""
        if self.kind in _NO_AREA:
            return self.kind
        return f"polygon of {len(self.points)} points" if self.kind == "polygon" and len(self.points) < 3 else ""


class _File(Document):
    shapes: list[_Shape]
    imagePath: str | None  # noqa: N815 - the tool's name
    imageHeight: float | None = None  # noqa: N815
    imageWidth: float | None = None  # noqa: N815


def find_labelme(given: Given) -> list[Tree]:
    """Return the whole of what holds a file of labelme: it writes one an image."""
    return [given.tree] if any(_is_labelme(content) for _, content in given.json) else []


def open_labelme(source: Tree) -> Annotations:
    """Open a labelme file, or all of a folder.

    Raises:
        InputError: if a file lacks what labelme writes.
    """
    labels: dict[str, None] = {}
    flat: Counter[str] = Counter()
    files = []
    others = []
    for name, file in source.files():
        if file.suffix != ".json":
            continue
        content = file.json()
        if not _is_labelme(content):
            others.append(str(file))
            continue
        files.append((name, file))
        for shape in as_type(content, _File, str(file)).shapes:
            if shape.without_area:
                flat[shape.without_area] += 1
            elif shape.kind in _PAINTED:
                labels[shape.label] = None
    return Annotations(
        kind="labelme JSON",
        where=str(source.path),
        labels=labels,
        drawings=lambda: (_drawing(name, file) for name, file in files),
        notes=[*left_out(flat), *([f"JSON files that are not labelme's: {listed(others, most=4)}"] if others else [])],
    )


def _is_labelme(content: object) -> bool:
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def _drawing(name: str, file: Tree) -> Drawing:
    content = as_type(file.json(), _File, str(file))
    image, or_else = _images(name, (content.imagePath or "").replace("\\", "/"), file)
    height, width = int(content.imageHeight or 0), int(content.imageWidth or 0)
    return Drawing(
        image=image,
        or_else=or_else,
        origin=str(file),
        stamp=file.stamp,
        parts=[file],
        size=(height, width) if height > 0 and width > 0 else None,
        marks=len(content.shapes),
        paint=partial(_paint, content.shapes, str(file)),
    )


def _images(name: str, path: str, file: Tree) -> tuple[str, str]:
    """Return what the image may be called: its path where it lies there, else the name beside the file, and the path.

    Paths may be those of another machine. The name beside a file that is called otherwise than its image means nothing.
    """
    folder, last = PurePosixPath(name).parent, PurePosixPath(path).name
    told = "/".join(part for part in posixpath.normpath(folder / path).split("/") if part != "..")
    own = PurePosixPath(name).stem
    if path and (own not in (last, PurePosixPath(last).stem) or file.beside(path) is not None):
        return told, ""
    return str(folder / (last or own)), told


def _paint(shapes: Sequence[_Shape], origin: str, key: Key, size: tuple[int, int]) -> Canvas:
    """Paint the shapes in the order of the file, each over those before, as labelme draws them."""
    canvas = Canvas(size, key.background)
    for number, shape in enumerate(shapes):
        if shape.without_area:
            continue
        with within(f"{origin}: shape {number} ({shape.label})"):
            _paint_shape(canvas, shape, key)
    return canvas


def _paint_shape(canvas: Canvas, shape: _Shape, key: Key) -> None:
    paint = _PAINTED.get(shape.kind)
    if paint is None:
        raise InputError(f"the type {shape.kind!r} cannot be painted: expected {', '.join(_PAINTED)}")
    paint(canvas, shape, key.class_of[shape.label])


def _paint_polygon(canvas: Canvas, shape: _Shape, class_id: int) -> None:
    if shape.kind != "polygon" and len(shape.points) != 4:
        raise InputError(f"a shape of the type {shape.kind!r} has four points, this one {len(shape.points)}")
    canvas.polygon(shape.points, class_id)


def _paint_rectangle(canvas: Canvas, shape: _Shape, class_id: int) -> None:
    """Paint the box around two points, as labelme has it, or around four corners, as X-AnyLabeling does."""
    if len(shape.points) not in (2, 4):
        raise InputError(f"a rectangle has two points or four corners, this one {len(shape.points)}")
    (left, right), (top, bottom) = ((min(side), max(side)) for side in zip(*shape.points, strict=True))
    canvas.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], class_id)


def _paint_circle(canvas: Canvas, shape: _Shape, class_id: int) -> None:
    """Paint the circle about the first point, on which the second lies."""
    (x, y), edge = _two(shape)
    radius = math.dist((x, y), edge)
    canvas.polygon(ellipse(x, y, radius, radius), class_id)


def _paint_mask(canvas: Canvas, shape: _Shape, class_id: int) -> None:
    """Paint a picture into its box, whose ends are told, or one pixel beyond; at the border labelme cuts it off."""
    (left, top), (right, bottom) = (tuple(map(int, corner)) for corner in _two(shape))
    inside = embedded_region(shape.mask or "", canvas.ids.shape)
    if abs(inside.shape[0] - (bottom + 1 - top)) > 1 or abs(inside.shape[1] - (right + 1 - left)) > 1:
        raise InputError(
            f"its mask is {inside.shape[1]} x {inside.shape[0]} pixels (width x height), "
            f"its box {right + 1 - left} x {bottom + 1 - top}"
        )
    canvas.region(inside, class_id, (top, left))


def _two(shape: _Shape) -> tuple[Point, Point]:
    if len(shape.points) != 2:
        raise InputError(f"a {shape.kind} has two points, this one {len(shape.points)}")
    return shape.points[0], shape.points[1]


_PAINTED = {
    "polygon": _paint_polygon,
    "rectangle": _paint_rectangle,
    "circle": _paint_circle,
    "mask": _paint_mask,
    "oriented_rectangle": _paint_polygon,  # of labelme
    "rotation": _paint_polygon,  # of X-AnyLabeling
    "quadrilateral": _paint_polygon,
}


FORMAT = Format(title="labelme JSON", find=find_labelme, open=open_labelme)
