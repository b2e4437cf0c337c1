"""What is drawn in Label Studio: shapes in percent, brush strokes as run-length codes, bitmasks as pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

from pydantic import Field

from semivl_cli.class_ids import IGNORE
from semivl_cli.data.annotation.annotations import Key
from semivl_cli.data.annotation.canvas import Canvas, ellipse
from semivl_cli.data.annotation.embedded_picture import embedded_region
from semivl_cli.data.annotation.rle import decode_brush
from semivl_cli.documents import Document, Id, Label, Point
from semivl_cli.errors import InputError, within

ANSWERS = frozenset(
    ("choices", "textarea", "rating", "number", "datetime", "taxonomy", "pairwise", "ranker", "relation")
)
"""Results that describe images or regions, and draw nothing."""

Labels: TypeAlias = list[Label] | None


class _Vertex(Document):
    x: float
    y: float
    isBezier: bool = False  # noqa: N815 - the tool's name


class _Value(Document):
    """Geometry in percent of the image, and labels under the name of their control."""

    points: list[Point] | None = None
    vertices: list[_Vertex] | None = None
    closed: bool | None = None
    x: float | None = None
    y: float | None = None
    width: float | None = None
    height: float | None = None
    radiusX: float | None = None  # noqa: N815
    radiusY: float | None = None  # noqa: N815
    rotation: float | None = None
    rle: list[Annotated[int, Field(ge=0, le=255)]] | None = None
    imageDataURL: str | None = None  # noqa: N815
    choices: Labels = None
    labels: Labels = None
    brushlabels: Labels = None
    bitmasklabels: Labels = None
    polygonlabels: Labels = None
    vectorlabels: Labels = None
    rectanglelabels: Labels = None
    ellipselabels: Labels = None

    @property
    def names(self) -> list[str]:
        """The labels that it has."""
        kinds = (self.brushlabels, self.bitmasklabels, self.polygonlabels, self.vectorlabels)
        return [
            name for names in (*kinds, self.rectanglelabels, self.ellipselabels, self.labels) for name in names or ()
        ]

    @property
    def has_area(self) -> bool:
        """Whether it is more than a point or a line."""
        box = self.x, self.y, self.width, self.height
        if self.points is not None or self.vertices is not None:
            return len(self.points or ()) > 2 or (len(self.vertices or ()) > 2 and bool(self.closed))
        return any(given is not None for given in (self.rle, self.imageDataURL, self.radiusX)) or None not in box


class Result(Document):
    """What one control says; region and answer alike."""

    id: Id | None = None
    type: str | None = None
    from_name: str | None = None
    to_name: str | None = None
    item_index: int | None = None
    image_rotation: float | None = None
    original_width: float | None = None
    original_height: float | None = None
    value: _Value = Field(default_factory=_Value)

    @property
    def place(self) -> tuple[object, ...]:
        """Where it lies; results of one region have it in common."""
        one = self.value
        box = one.x, one.y, one.width, one.height, one.radiusX, one.radiusY, one.rotation
        shape = tuple(map(tuple, one.points or ())), tuple(one.vertices or ()), tuple(one.rle or ()), one.imageDataURL
        return self.id, self.to_name, self.item_index, box, shape


@dataclass(slots=True)
class Region:
    """What was drawn once; its geometry and its labels may stand in several results."""

    result: Result
    labels: dict[str, None] = field(default_factory=dict)
    kind: str = "region"

    @property
    def has_area(self) -> bool:
        """Whether it is more than a point or a line."""
        return self.result.value.has_area

    @property
    def size(self) -> tuple[int, int] | None:
        """`(H, W)` of the image on which it was drawn, where that is told."""
        height, width = self.result.original_height, self.result.original_width
        return (int(height), int(width)) if height and width else None

    def __str__(self) -> str:
        number = "(without id)" if self.result.id is None else self.result.id
        return f"region {number} ({next(iter(self.labels), self.kind)})"


def regions_of(results: Sequence[Result]) -> list[Region]:
    """Return what was drawn: shape and label are two results where the configuration has a control for each.

    A region without a label has what was chosen for it in `<Choices perRegion="true">`, if that is one thing.
    """
    found: dict[object, Region] = {}
    chosen: dict[object, set[tuple[str | None, str]]] = {}
    for number, result in enumerate(results):
        answers = {(result.from_name, choice) for choice in result.value.choices or ()}
        chosen.setdefault((result.id, result.to_name), set()).update(answers)
        if result.type not in ANSWERS:
            same = number if result.id is None and not result.value.has_area else result.place
            region = found.setdefault(same, Region(result))
            region.labels.update(dict.fromkeys(result.value.names))
            region.kind = result.type or region.kind
    for region in found.values():
        answers = chosen[region.result.id, region.result.to_name]
        if not region.labels and region.result.id is not None and len(answers) == 1:
            region.labels.update(dict.fromkeys(choice for _, choice in answers))
    return list(found.values())


def paint_regions(regions: Sequence[Region], origin: str, key: Key, size: tuple[int, int]) -> Canvas:
    """Paint the regions in the order of the file, each over those before; what has no label is ignored."""
    canvas = Canvas(size, key.background)
    for region in regions:
        if not region.has_area:
            continue
        with within(f"{origin}: {region}"):
            if len(region.labels) > 1:
                raise InputError(f"has {len(region.labels)} labels, a pixel has one class")
            if region.result.image_rotation:
                raise InputError("the image was turned in Label Studio: turn it back there, or turn the file")
            if region.size not in (None, size):
                raise InputError("other regions of the image have another original_width or original_height")
            class_id = key.class_of[next(iter(region.labels))] if region.labels else IGNORE
            _paint_region(canvas, region.result.value, class_id)
    return canvas


def _paint_region(canvas: Canvas, value: _Value, class_id: int) -> None:
    height, width = canvas.ids.shape
    if value.rle is not None:
        opacity = decode_brush(value.rle, height * width * 4)[3::4]  # red, green, blue, opacity
        canvas.region(opacity.reshape(height, width) >= 128, class_id)
    elif value.imageDataURL is not None:
        inside = embedded_region(value.imageDataURL.partition(",")[2], (height, width))
        if inside.shape != (height, width):
            raise InputError(
                f"its bitmask is {inside.shape[1]} x {inside.shape[0]} pixels (width x height), "
                f"the image {width} x {height}"
            )
        canvas.region(inside, class_id)
    else:
        canvas.polygon(_corners(value, width / 100, height / 100), class_id)


def _corners(value: _Value, right: float, down: float) -> list[tuple[float, float]]:
    """Return the corners of a shape in pixels; one percent of the image is `right` pixels wide and `down` high."""
    if value.vertices is not None:
        if any(vertex.isBezier for vertex in value.vertices):
            raise InputError("it has curves, which are not read: draw it as a polygon")
        return [(vertex.x * right, vertex.y * down) for vertex in value.vertices]
    if value.points is not None:
        return [(x * right, y * down) for x, y in value.points]
    x, y = value.x, value.y
    if x is None or y is None:
        raise InputError("expected numbers in percent for x and y")
    if value.radiusX is not None:
        percent = ellipse(x, y, value.radiusX, value.radiusX if value.radiusY is None else value.radiusY)
    else:
        across, below = x + (value.width or 0), y + (value.height or 0)
        percent = [(x, y), (across, y), (across, below), (x, below)]
    turn = math.radians(value.rotation or 0)  # about the upper left corner of a box, and the centre of an ellipse
    cos, sin = math.cos(turn), math.sin(turn)
    moved = [((one - x) * right, (other - y) * down) for one, other in percent]
    return [(x * right + one * cos - other * sin, y * down + one * sin + other * cos) for one, other in moved]
