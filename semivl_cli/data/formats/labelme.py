"""labelme JSON: one file an image, with polygons, rectangles, circles and masks in pixels."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key, size_of
from semivl_cli.data.annotation.canvas import Canvas, ellipse
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.read.picture_files import open_picture
from semivl_cli.errors import InputError

_NO_AREA = ("point", "points", "line", "linestrip")


def find_labelme(given: Given) -> list[Tree]:
    """Return the whole of what holds a file of labelme: it writes one an image."""
    return [given.tree] if any(_is_labelme(content) for _, content in given.json) else []


def open_labelme(source: Tree) -> Annotations:
    """Open a labelme file, or all of a folder."""
    labels: dict[str, None] = {}
    flat = 0
    files = []
    for name, file in source.files():
        if file.suffix != ".json":
            continue
        content = file.json()
        if _is_labelme(content):
            files.append((name, file))
            for shape in _shapes(content, file):
                if shape.get("shape_type") in _NO_AREA:
                    flat += 1
                else:
                    labels.setdefault(str(shape.get("label")))
    return Annotations(
        kind="labelme JSON",
        where=str(source.path),
        labels=labels,
        drawings=lambda: (_drawing(name, file) for name, file in files),
        notes=[f"{flat} points and lines have no area: left out"] if flat else [],
    )


def _is_labelme(content: object) -> bool:
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def _shapes(content: Any, file: Tree) -> list[Mapping[str, Any]]:  # noqa: ANN401 - a file's JSON
    shapes: list[Mapping[str, Any]] = content["shapes"]
    if not all(isinstance(shape, dict) and isinstance(shape.get("label"), str) for shape in shapes):
        raise InputError(f"{file}: expected shapes that each have a label")
    return shapes


def _drawing(name: str, file: Tree) -> Drawing:
    content: Any = file.json()
    path = str(content["imagePath"]).replace("\\", "/")
    # what labelme wrote may be a path of another machine; beside it, the file has the name of its image
    image = str(PurePosixPath(name).parent / (PurePosixPath(path).name or PurePosixPath(name).stem))
    return Drawing(
        image=image,
        origin=str(file),
        stamp=file.stamp,
        size=size_of(content.get("imageHeight"), content.get("imageWidth")),
        paint=partial(_paint, _shapes(content, file), str(file)),
    )


def _paint(shapes: list[Mapping[str, Any]], origin: str, key: Key, size: tuple[int, int]) -> Canvas:
    """Paint the shapes in the order of the file, each over those before, as labelme draws them."""
    canvas = Canvas(size, key.background)
    for number, shape in enumerate(shapes):
        if shape.get("shape_type") in _NO_AREA:
            continue
        try:
            _paint_shape(canvas, shape, key.class_of[shape["label"]])
        except InputError as error:
            raise InputError(f"{origin}: shape {number} ({shape['label']}): {error}") from error
    return canvas


def _paint_shape(canvas: Canvas, shape: Mapping[str, Any], class_id: int) -> None:
    kind, points = shape.get("shape_type") or "polygon", shape.get("points")
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise InputError("expected points that are pairs of x and y")
    if not all(isinstance(number, int | float) and math.isfinite(number) for point in points for number in point):
        raise InputError("expected coordinates that are numbers of pixels")
    if kind == "polygon":
        canvas.polygon(points, class_id)
    elif len(points) != 2:
        raise InputError(f"a {kind} has two points, this one {len(points)}")
    elif kind == "rectangle":
        (x, y), (right, bottom) = points
        canvas.polygon([(x, y), (right, y), (right, bottom), (x, bottom)], class_id)
    elif kind == "circle":
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        canvas.polygon(ellipse(x, y, radius, radius), class_id)
    elif kind == "mask":
        (left, top), _ = points
        canvas.region(_inside(shape.get("mask")), class_id, (round(top), round(left)))
    else:
        raise InputError(f"a shape of the type {kind!r} cannot be painted: expected polygon, rectangle, circle or mask")


def _inside(text: object) -> Any:  # noqa: ANN401 - a bool array [h, w]
    try:
        content = base64.b64decode(text if isinstance(text, str) else "", validate=True)
    except binascii.Error as error:
        raise InputError("its mask is no base64 text") from error
    return open_picture(content, "its mask", lambda picture: picture.shown()[0].max(axis=2) > 0)


FORMAT = Format(title="labelme JSON", find=find_labelme, open=open_labelme)
