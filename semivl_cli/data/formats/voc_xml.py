"""Polygons in XML, one file an image: Pascal VOC's form as Roboflow and supervision write it, and that of LabelMe."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from xml.etree.ElementTree import Element

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.exported_split import split_of_folders
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.annotation.xml_files import parse_xml
from semivl_cli.errors import InputError, within


@dataclass(frozen=True, slots=True)
class _Object:
    label: str
    rings: Sequence[Sequence[float]]
    """Its polygons, each `x, y, x, y, ...`; none for a box."""
    mask: str = ""
    """The picture of what was drawn with a brush, which lies elsewhere."""


def find_voc_xml(given: Given) -> list[Tree]:
    """Return the whole of what holds XML of an image with polygons; XML of boxes alone is none."""
    return [given.tree] if any(_has_polygons(file) for file in given.files) else []


def open_voc_xml(source: Tree) -> Annotations:
    """Open an XML file, or all of a folder or archive.

    Raises:
        InputError: one is no XML, or an object lacks its name or has no polygon of numbers.
    """
    drawings: list[Drawing] = []
    labels: dict[str, None] = {}
    boxes = short = without = 0
    for name, file in source.files():
        if file.suffix != ".xml":
            continue
        root = parse_xml(file.read(), str(file))
        if root.tag != "annotation":
            continue
        objects = [_read_object(one, file) for one in root.iterfind("object") if one.findtext("deleted", "0") != "1"]
        if not objects:
            without += 1
            continue
        if root.findtext("folder") == "VOC" and root.findtext("source/database") == "roboflow.ai":
            objects = [replace(one, rings=[[x - 1 for x in ring] for ring in one.rings]) for one in objects]
        boxes += sum(not one.rings and not one.mask for one in objects)
        short += sum(len(ring) < 6 for one in objects for ring in one.rings)
        labels.update((one.label, None) for one in objects if any(len(ring) >= 6 for ring in one.rings))
        image, folders = root.findtext("filename", "").strip() or file.name, name.split("/")[:-1]
        drawings.append(
            Drawing(
                image="/".join([*folders, image]) if file.beside(image) else image,
                or_else="/".join([*folders, image]),
                origin=str(file),
                stamp=file.stamp,
                size=_size(root),
                paint=partial(_paint, objects, str(file)),
                parts=[file],
                marks=len(objects),
                split=split_of_folders(folders),
            )
        )
    counts = {
        "images have no object: they have no mask": without,
        "objects are boxes without a polygon: they paint nothing": boxes,
        "polygons have fewer than three points: they paint nothing": short,
    }
    return Annotations(
        kind="XML with polygons",
        where=str(source),
        labels=labels,
        drawings=lambda: drawings,
        on_top="the smaller one lies on top",
        notes=[f"{count} {what}" for what, count in counts.items() if count],
    )


def _has_polygons(file: Tree) -> bool:
    if file.suffix != ".xml":
        return False
    content = file.read()
    return re.search(rb"<annotation[\s>]", content[:4096]) is not None and b"<polygon>" in content


def _read_object(element: Element, file: Tree) -> _Object:
    label = element.findtext("name", "").strip()
    if not label:
        raise InputError(f"{file}: an object has no name")
    rings = [list(_numbers(polygon, label, file)) for polygon in element.iterfind("polygon")]
    return _Object(label, rings, element.findtext("segm/mask", "").strip())


def _numbers(polygon: Element, label: str, file: Tree) -> Iterator[float]:
    """Yield x, y, x, y, ... of `<x1> <y1> <x2> ...`, or of LabelMe's `<pt> <x> <y>`."""
    points = polygon.findall("pt")
    texts = [point.findtext(axis) for point in points for axis in "xy"]
    if not points:
        told = {child.tag: child.text for child in polygon}
        count = sum(tag.startswith("x") for tag in told)
        texts = [told.get(f"{axis}{number}") for number in range(1, count + 1) for axis in "xy"]
    for text in texts:
        try:
            yield float(text or "")
        except ValueError as error:
            raise InputError(f"{file}: {label}: a polygon has {text!r} where a number is expected") from error


def _size(root: Element) -> tuple[int, int] | None:
    ways = ("size/height", "imagesize/nrows"), ("size/width", "imagesize/ncols")
    sides = [(root.findtext(one) or root.findtext(other) or "").strip() for one, other in ways]
    if not all(side.isascii() and side.isdigit() and len(side) < 10 for side in sides):
        return None
    return (int(sides[0]), int(sides[1])) if "0" not in sides else None


def _paint(objects: Sequence[_Object], origin: str, key: Key, size: tuple[int, int]) -> Canvas:
    canvas = Canvas(size, key.background, smaller_on_top=True)
    for number, one in enumerate(objects):
        if one.mask:
            raise InputError(
                f"{origin}: object {number} ({one.label}): it was drawn with a brush ({one.mask}), which is not read "
                "from here: export COCO, or CVAT for images"
            )
        if any(len(ring) >= 6 for ring in one.rings):
            with within(f"{origin}: object {number} ({one.label})"):
                canvas.polygons(one.rings, key.class_of[one.label])
    return canvas


FORMAT = Format(title="XML with polygons (Pascal VOC's form, LabelMe's)", find=find_voc_xml, open=open_voc_xml)
