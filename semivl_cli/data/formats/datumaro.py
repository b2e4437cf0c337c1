"""Datumaro's JSON, as it, CVAT and Geti export it: one file a subset, with polygons, boxes, ellipses and masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated

from pydantic import BeforeValidator

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key
from semivl_cli.data.annotation.canvas import Canvas, ellipse, rotated
from semivl_cli.data.annotation.exported_split import split_of_file
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.rle import Code
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.contract import Color
from semivl_cli.documents import Document, parse_json
from semivl_cli.errors import InputError, within
from semivl_cli.files import bare

_WITH_AREA = ("polygon", "bbox", "ellipse", "mask")
_NO_AREA = ("points", "polyline", "skeleton", "cuboid_3d")
_NO_SHAPE = ("label", "caption", "hash_key")


class _Label(Document):
    name: str


class _Labels(Document):
    labels: list[_Label]


class _Color(Document):
    label_id: int
    r: int
    g: int
    b: int


class _Colors(Document):
    colormap: Sequence[_Color] = ()


class _Categories(Document):
    label: _Labels
    mask: _Colors = _Colors()


def _number(value: object) -> object:
    return value if isinstance(value, int | float) else 0  # people call attributes of theirs so, too


class _Turned(Document):
    rotation: Annotated[float, BeforeValidator(_number)] = 0
    """Of a box of CVAT, clockwise in degrees about its centre."""


class _Shape(Document):
    type: str
    label_id: int | None = None
    points: Sequence[float] = ()
    """Of a polygon `x, y, x, y, ...`, of an ellipse the corners of its box."""
    bbox: Sequence[float] = ()
    """Left, top, width, height."""
    rle: Code | None = None
    z_order: int = 0
    attributes: _Turned = _Turned()


class _Image(Document):
    path: str = ""
    size: list[int] | None = None
    """Height and width."""


class _Item(Document):
    id: str
    annotations: list[_Shape]
    image: _Image = _Image()


class _File(Document):
    categories: _Categories
    items: list[_Item]


def find_datumaro(given: Given) -> list[Tree]:
    """Return the JSON files that hold items, and categories by the kind of annotation."""
    return [
        file
        for file, content in given.json
        if isinstance(content, dict)
        and isinstance(content.get("items"), list)
        and isinstance(content.get("categories"), dict)
        and "label" in content["categories"]
    ]


def open_datumaro(file: Tree) -> Annotations:
    """Open a subset; an item without any shape is an image without a mask.

    Raises:
        InputError: it lacks what Datumaro writes, or a shape has a label that is none.
    """
    content = parse_json(file.read(), _File, str(file))
    names = [label.name for label in content.categories.label.labels]
    colors = {one.label_id: one for one in content.categories.mask.colormap}
    labels: dict[str, Color | None] = {}
    flat: Counter[str] = Counter()
    drawings = []
    subset = file.name.removesuffix(".json")
    for item in content.items:
        shapes = [shape for shape in item.annotations if shape.type not in _NO_SHAPE]
        if not shapes:
            continue
        origin = f"{file}: item {item.id}"
        flat.update(shape.type for shape in shapes if shape.type in _NO_AREA)
        solid = sorted((shape for shape in shapes if shape.type not in _NO_AREA), key=lambda shape: shape.z_order)
        for shape in solid:
            if shape.type in _WITH_AREA:
                if shape.label_id is None or not 0 <= shape.label_id < len(names):
                    raise InputError(f"{origin}: {shape.type} has the label {shape.label_id}, of {len(names)} labels")
                labels[names[shape.label_id]] = _color(colors, shape.label_id)
        size = item.image.size
        name = item.image.path if bare(item.image.path) != item.image.path else item.id
        drawings.append(
            Drawing(
                image=name,
                or_else=f"{subset}/{name}",  # each subset has its own folder of images
                origin=origin,
                stamp=file.stamp,
                size=(size[0], size[1]) if size is not None and len(size) == 2 else None,
                paint=partial(_paint, solid, names, origin),
                marks=len(shapes),
                split=split_of_file(subset),
            )
        )
    notes = []
    if len(drawings) < len(content.items):
        without = len(content.items) - len(drawings)
        notes.append(f"{without} of {len(content.items)} images have no shape: they have no mask")
    if flat:
        kinds = ", ".join(f"{kind} ({number})" for kind, number in flat.most_common())
        notes.append(f"shapes that have no area are left out: {kinds}")
    return Annotations(
        kind="Datumaro JSON",
        where=str(file),
        labels=labels,
        drawings=lambda: drawings,
        notes=notes,
        on_top="the higher z_order lies on top, of equal ones what is drawn later",
    )


def _color(colors: Mapping[int, _Color], label: int) -> Color | None:
    color = colors.get(label)
    parts = () if color is None else (color.r, color.g, color.b)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 and all(0 <= part < 256 for part in parts) else None


def _paint(shapes: Sequence[_Shape], names: Sequence[str], origin: str, key: Key, size: tuple[int, int]) -> Canvas:
    canvas = Canvas(size, key.background)
    for shape in shapes:
        if shape.type not in _WITH_AREA:
            raise InputError(f"{origin}: {shape.type} cannot be painted: expected {', '.join(_WITH_AREA)}")
        label = names[shape.label_id or 0]
        with within(f"{origin}: {shape.type} ({label})"):
            _paint_shape(canvas, shape, key.class_of[label])
    return canvas


def _paint_shape(canvas: Canvas, shape: _Shape, class_id: int) -> None:
    if shape.type == "polygon":
        canvas.polygons([shape.points], class_id)
    elif shape.type == "mask":
        if shape.rle is None:
            raise InputError("expected a run-length code (rle)")
        canvas.code(shape.rle, class_id)
    else:
        numbers = shape.bbox if shape.type == "bbox" else shape.points
        if len(numbers) != 4:
            raise InputError(f"expected four numbers, got {len(numbers)}")
        left, top, third, fourth = numbers
        if shape.type == "bbox":
            right, bottom = left + third, top + fourth
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
            middle = (left + right) / 2, (top + bottom) / 2
            canvas.polygon(rotated(corners, middle, shape.attributes.rotation), class_id)
        else:
            x, y = (left + third) / 2, (top + fourth) / 2
            canvas.polygon(ellipse(x, y, abs(third - left) / 2, abs(fourth - top) / 2), class_id)


FORMAT = Format(title="Datumaro JSON", find=find_datumaro, open=open_datumaro)
