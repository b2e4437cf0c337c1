"""VGG Image Annotator: projects and exports (JSON, CSV) of VIA 1 and 2, and projects of VIA 3."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

from semivl_cli.class_ids import IGNORE
from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key, left_out
from semivl_cli.data.annotation.canvas import Canvas, ellipse
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.via_files import FIELDS, Region, Shape, is_table, is_via, read_via
from semivl_cli.errors import InputError, listed, within

_USUAL = ("label", "class", "category", "name", "object", "type")
"""What people call the attribute that is the label."""
_NAMELESS = "object"
"""The label of regions of which none has an attribute."""
Corners: TypeAlias = list[tuple[float, float]]


def find_via(given: Given) -> list[Tree]:
    """Return the JSON files that VIA wrote, and its CSV files."""
    found = {file for file, content in given.json if is_via(content)}
    tables = {file for file in given.files if file.suffix == ".csv" and is_table(file)}
    return [file for file in given.files if file in found or file in tables]


def open_via(file: Tree) -> Annotations:
    """Open a project or an export.

    Raises:
        InputError: if it holds what VIA does not write, or several attributes of which any may be the label.
    """
    images, shown = read_via(file)
    drawn = [image for image in images if image.regions]
    areas = [region for image in drawn for region in image.regions if not region.shape_attributes.without_area]
    attribute, notes = _label_attribute(areas, shown, str(file))
    flat = Counter(region.shape_attributes.without_area for image in drawn for region in image.regions)
    notes += left_out({kind: count for kind, count in flat.items() if kind})
    known = [region for region in areas if region.shape_attributes.name in _CORNERS]
    nameless = sum(not _labels(region, attribute) for region in known)
    if nameless:
        notes.append(f"{nameless} regions have no label: their pixels are ignored")
    if len(drawn) < len(images):
        notes.append(f"{len(images) - len(drawn)} of {len(images)} images have no region: they have no mask")
    count = Counter(image.filename for image in images)
    return Annotations(
        kind="VIA",
        where=str(file),
        labels={label: None for region in known for label in _labels(region, attribute)},
        drawings=lambda: [
            Drawing(
                image=image.filename,
                origin=f"{file}: {image.filename}",
                stamp=file.stamp,
                marks=len(image.regions),
                paint=partial(_paint, image.regions, attribute, f"{file}: {image.filename}"),
            )
            for image in drawn
            if count[image.filename] == 1
        ],
        on_top="the region that stands later in the file lies on top",
        notes=notes,
        strays=[f"{file}: {name}: {many} images are called so" for name, many in count.items() if many > 1],
    )


def _label_attribute(regions: Sequence[Region], shown: str | None, where: str) -> tuple[str | None, list[str]]:
    """Return the attribute that is the label, or `None` where no region has any, and what is worth telling of it."""
    attributes = (attribute for region in regions for attribute in region.region_attributes.items())
    used = list(dict.fromkeys(name for name, chosen in attributes if chosen))
    if not used:
        return None, [f"no region has an attribute: all are called {_NAMELESS!r}"] if regions else []
    usual = [name for name in used if name.casefold() in _USUAL]
    choices = used, usual, [name for name in used if name == shown]
    label = next((names[0] for names in choices if len(names) == 1), None)
    if label is None:
        raise InputError(
            f"{where}: regions have the attributes {listed(used)}: which of them is the label cannot be told: "
            "call one of them 'label' in VIA"
        )
    others = [name for name in used if name != label]
    return label, [f"the attribute {label!r} is the label; not read: {listed(others)}"] if others else []


def _labels(region: Region, attribute: str | None) -> list[str]:
    return [_NAMELESS] if attribute is None else region.region_attributes.get(attribute, [])


def _paint(regions: Sequence[Region], attribute: str | None, origin: str, key: Key, size: tuple[int, int]) -> Canvas:
    """Paint the regions in the order of the file, each over those before; what has no label is ignored."""
    canvas = Canvas(size, key.background)
    for number, region in enumerate(regions):
        shape, labels = region.shape_attributes, _labels(region, attribute)
        if shape.without_area:
            continue
        with within(f"{origin}: region {number} ({', '.join(labels) or 'without label'})"):
            corners = _CORNERS.get(shape.name)
            if corners is None:
                raise InputError(f"a shape {shape.name!r} cannot be painted: expected {', '.join(_CORNERS)}")
            if len(labels) > 1:
                raise InputError(f"it has {len(labels)} labels, a pixel has one class")
            canvas.polygon(corners(shape), key.class_of[labels[0]] if labels else IGNORE)
    return canvas


def _polygon(shape: Shape) -> Corners:
    if len(shape.all_points_x) != len(shape.all_points_y):
        raise InputError(f"it has {len(shape.all_points_x)} x and {len(shape.all_points_y)} y")
    return list(zip(shape.all_points_x, shape.all_points_y, strict=True))


def _rect(shape: Shape) -> Corners:
    x, y, width, height = shape.numbers(*FIELDS["rect"])
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def _circle(shape: Shape) -> Corners:
    x, y, radius = shape.numbers(*FIELDS["circle"])
    return ellipse(x, y, radius, radius)


def _ellipse(shape: Shape) -> Corners:
    x, y, across, down = shape.numbers(*FIELDS["ellipse"])
    cos, sin = math.cos(shape.theta or 0), math.sin(shape.theta or 0)
    level = ellipse(0, 0, across, down)
    return [(x + one * cos - other * sin, y + one * sin + other * cos) for one, other in level]


_CORNERS = {"polygon": _polygon, "rect": _rect, "circle": _circle, "ellipse": _ellipse}

FORMAT = Format(title="VIA JSON", find=find_via, open=open_via)
