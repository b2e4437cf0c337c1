"""Cityscapes' polygon JSON, one file an image, as its label tool writes it and others in its layout do."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key, left_out
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.exported_split import split_of_folders
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.documents import Document, Point, parse_json
from semivl_cli.errors import InputError, within

_ENDING = "_polygons"
_VOID = frozenset(
    (
        "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "parking",
        "rail track", "guard rail", "bridge", "tunnel", "polegroup", "caravan", "trailer",
    )
)  # fmt: skip
"""Labels that the dataset does not evaluate: they are ignored where they are no class of the user."""
_NOT_DRAWN = "license plate"
"""Lies on cars, and has no id: the dataset's own masks show the car."""
_GROUP = "group"
"""What ends the label of several things that nobody told apart, such as `cargroup`."""

_Side = Annotated[int, Field(ge=1)]


class _Object(Document):
    """A polygon, each over those before."""

    label: str
    polygon: list[Point]
    deleted: int = 0


class _Annotation(Document):
    """A file."""

    imgHeight: _Side  # noqa: N815 - its own spelling
    imgWidth: _Side  # noqa: N815
    objects: list[_Object]


def find_cityscapes(given: Given) -> list[Tree]:
    """Return the whole of what holds such a file."""
    return [given.tree] if any(_is_cityscapes(content) for _, content in given.json) else []


def open_cityscapes(source: Tree) -> Annotations:
    """Open a file, or all of a folder."""
    labels: dict[str, None] = {}
    flat: Counter[str] = Counter()
    files = []
    for name, file in source.files():
        if file.suffix == ".json" and _is_cityscapes(file.json()):
            files.append((name, file))
            drawn = _drawn(_read(file))
            labels.update(dict.fromkeys(_single(one.label) for one in drawn if len(one.polygon) > 2))
            flat.update(f"polygon of {len(one.polygon)} points" for one in drawn if len(one.polygon) < 3)
    return Annotations(
        kind="Cityscapes JSON",
        where=str(source),
        labels=labels,
        drawings=lambda: (_drawing(name, file) for name, file in files),
        void=_VOID,
        notes=left_out(flat),
    )


def _is_cityscapes(content: object) -> bool:
    return isinstance(content, dict) and {"imgHeight", "imgWidth", "objects"} <= content.keys()


def _read(file: Tree) -> _Annotation:
    return parse_json(file.read(), _Annotation, str(file))


def _drawn(content: _Annotation) -> list[_Object]:
    return [one for one in content.objects if not one.deleted and one.label != _NOT_DRAWN]


def _single(label: str) -> str:
    """Return what a group consists of; `polegroup` is a label of its own."""
    return label.removesuffix(_GROUP) if label.endswith(_GROUP) and label not in _VOID else label


def _drawing(name: str, file: Tree) -> Drawing:
    content = _read(file)
    folder, _, last = name.rpartition("/")
    stem = last.removesuffix(".json").removesuffix(_ENDING)
    for ending in ("_gtFine", "_gtCoarse"):
        if stem.endswith(ending):
            stem = stem.removesuffix(ending) + "_leftImg8bit"
    drawn = _drawn(content)
    return Drawing(
        image=f"{folder}/{stem}.png" if folder else f"{stem}.png",
        origin=str(file),
        stamp=file.stamp,
        parts=[file],
        size=(content.imgHeight, content.imgWidth),
        paint=partial(_paint, drawn, str(file)),
        marks=len(drawn),
        split=split_of_folders(name.split("/")[:-1]),
    )


def _paint(objects: Sequence[_Object], origin: str, key: Key, size: tuple[int, int]) -> Canvas:
    """Paint the polygons in the order of the file as the dataset's own tool does: their edges belong to them."""
    canvas = Canvas(size, key.background)
    for number, one in enumerate(objects):
        if len(one.polygon) < 3:
            continue
        with within(f"{origin}: object {number} ({one.label})"):
            _paint_polygon(canvas, one.polygon, key.class_of[_single(one.label)])
    return canvas


def _paint_polygon(canvas: Canvas, polygon: Sequence[Sequence[float]], class_id: int) -> None:
    if any(abs(side) > 10**6 for corner in polygon for side in corner):
        raise InputError("a polygon has a corner that is far outside of any image")
    height, width = canvas.ids.shape
    left, top = (max(math.floor(min(sides)), 0) for sides in zip(*polygon, strict=True))
    right, bottom = (math.ceil(max(sides)) + 1 for sides in zip(*polygon, strict=True))
    box = (min(right, width) - left, min(bottom, height) - top)
    if min(box) < 1:
        return
    picture = Image.new("1", box)
    ImageDraw.Draw(picture).polygon([(x - left, y - top) for x, y in polygon], fill=1)
    canvas.region(np.array(picture), class_id, (top, left))


FORMAT = Format(title="Cityscapes JSON", find=find_cityscapes, open=open_cityscapes, images="leftImg8bit")
