"""What VIA 1, 2 and 3 write, JSON and CSV, read as the images and regions of VIA 2."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from semivl_cli.data.annotation.tree import Tree
from semivl_cli.documents import Document, Id, as_type, parse_json
from semivl_cli.errors import InputError

FIELDS = {"rect": ("x", "y", "width", "height"), "circle": ("cx", "cy", "r"), "ellipse": ("cx", "cy", "rx", "ry")}
"""What VIA 2 calls the numbers of its shapes, in the order in which VIA 3 writes them."""
_NO_AREA = ("point", "line", "polyline")
_CSV = ["filename", "file_size", "file_attributes", "region_count", "region_id"]
_SHAPES_3 = ("", "point", "rect", "circle", "ellipse", "line", "polyline", "polygon", "extreme_rectangle")


def _names(value: object) -> object:
    """Return what an attribute says: a text or number, or the options of a checkbox that are on."""
    if isinstance(value, Mapping):
        return [str(option) for option, chosen in value.items() if chosen is True]
    return [] if value in (None, "") else [value if isinstance(value, str) else str(value)]


def _values(regions: object) -> object:
    return list(regions.values()) if isinstance(regions, Mapping) else regions  # VIA 1 numbers them


class Shape(Document):
    """A shape in pixels, which has those of the numbers that its kind needs."""

    name: str
    all_points_x: list[float] = Field(default_factory=list)
    all_points_y: list[float] = Field(default_factory=list)
    x: float | None = None
    y: float | None = None
    width: float | None = None
    height: float | None = None
    cx: float | None = None
    cy: float | None = None
    r: float | None = None
    rx: float | None = None
    ry: float | None = None
    theta: float | None = None

    @property
    def without_area(self) -> str:
        """Why it has no area, or nothing."""
        few = self.name == "polygon" and len(self.all_points_x) < 3
        return f"polygon of {len(self.all_points_x)} points" if few else self.name if self.name in _NO_AREA else ""

    def numbers(self, *names: str) -> list[float]:
        """Return what this kind of shape needs; raises `InputError` where it lacks something."""
        found = [getattr(self, name) for name in names]
        if None in found:
            raise InputError(f"a shape {self.name!r} has {', '.join(names)}")
        return found


class Region(Document):
    """A shape, and what is chosen for each of its attributes."""

    shape_attributes: Shape
    region_attributes: dict[str, Annotated[list[str], BeforeValidator(_names)]]


class Image(Document):
    """An image, and what is drawn on it."""

    filename: str
    regions: Annotated[list[Region], BeforeValidator(_values)]


class _Attribute(Document):
    aname: str
    options: dict[str, str] | None = None


class _File(Document):
    fid: Id
    fname: str


class _View(Document):
    fid_list: list[Id]


class _Metadata(Document):
    vid: Id
    z: list[float]
    xy: list[float]
    av: dict[str, str]


class _Project(Document):
    """What VIA 3 writes; regions belong to views, and views to files."""

    attribute: dict[str, _Attribute]
    file: dict[str, _File]
    view: dict[Id, _View]
    metadata: dict[str, _Metadata]


def is_via(content: object) -> bool:
    """Whether JSON is a project or an export of VIA."""
    if _is_via_3(content):
        return True
    if not isinstance(content, Mapping):
        return False
    entries = content.get("_via_img_metadata", content)
    some = list(entries.values())[:10] if isinstance(entries, Mapping) else []
    whole = all(isinstance(entry, Mapping) and "filename" in entry and "regions" in entry for entry in some)
    return "_via_img_metadata" in content or (bool(some) and whole)


def _is_via_3(content: object) -> bool:
    return isinstance(content, Mapping) and all(part in content for part in ("project", "file", "view", "metadata"))


def is_table(file: Tree) -> bool:
    """Whether a CSV file begins as VIA's do."""
    return file.read()[:200].decode("utf-8", "replace").lstrip("\ufeff#").startswith(",".join(_CSV))


def read_via(file: Tree) -> tuple[list[Image], str | None]:
    """Return the images of a file, and the attribute that VIA shows beside regions, if one was chosen."""
    if file.suffix == ".csv":
        return _read_table(file), None
    content: Any = file.json()
    if _is_via_3(content):
        return _convert(as_type(content, _Project, str(file)), str(file)), None
    entries = content.get("_via_img_metadata", content)
    return list(as_type(entries, dict[str, Image], str(file)).values()), _shown_attribute(content)


def _shown_attribute(content: object) -> str | None:
    for part in ("_via_settings", "ui", "image", "region_label"):
        content = content.get(part) if isinstance(content, Mapping) else None
    return content if isinstance(content, str) else None


def _read_table(file: Tree) -> list[Image]:
    """Return the images of a CSV file, which has a line for each region."""
    images: dict[tuple[str, str], list[dict[str, object]]] = {}
    rows = csv.reader(io.StringIO(file.text().lstrip("#")))
    try:
        header = next(rows)
        for row in filter(None, rows):
            values = dict(zip(header, row, strict=True))
            regions = images.setdefault((values["filename"], values["file_size"]), [])
            name = f"{file}: line {rows.line_num}"
            if values["region_count"] != "0":
                parts = "region_shape_attributes", "region_attributes"
                shape, region = (parse_json(values[part], dict[str, object], name) for part in parts)
                regions.append({"shape_attributes": shape, "region_attributes": region})
    except (csv.Error, ValueError, KeyError) as error:
        raise InputError(f"{file}: line {rows.line_num}: expected a line as VIA writes it ({error})") from error
    return as_type([{"filename": one, "regions": of_it} for (one, _), of_it in images.items()], list[Image], str(file))


def _convert(project: _Project, where: str) -> list[Image]:
    """Return the images of a project of VIA 3 as VIA 2 would write them."""
    _check_unique((one.fid for one in project.file.values()), f"{where}: two files have the id")
    _check_unique((one.aname for one in project.attribute.values()), f"{where}: two attributes are called")
    regions: dict[Id, list[dict[str, object]]] = {one.fid: [] for one in project.file.values()}
    for number, one in project.metadata.items():
        if not one.xy or one.z:  # of the whole file, or of a moment in a film
            continue
        files = project.view[one.vid].fid_list if one.vid in project.view else []
        if len(files) != 1 or files[0] not in regions:
            raise InputError(f"{where}: metadata {number}: its view {one.vid} shows {len(files)} files, expected one")
        known = ((project.attribute[key], text) for key, text in one.av.items() if key in project.attribute)
        chosen = {attribute.aname: _chosen(attribute, text) for attribute, text in known}
        regions[files[0]].append({"shape_attributes": _shape_3(one.xy), "region_attributes": chosen})
    names = [{"filename": one.fname, "regions": regions[one.fid]} for one in project.file.values()]
    return as_type(names, list[Image], where)


def _check_unique(names: Iterable[object], what: str) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise InputError(f"{what} {name!r}")


def _chosen(attribute: _Attribute, text: str) -> object:
    """Return what was chosen for a region: an option, several, or a text."""
    parts = text.split(",")
    options = attribute.options or {}
    return {options[part]: True for part in parts} if all(part in options for part in parts) else text


def _shape_3(xy: Sequence[float]) -> dict[str, object]:
    """Return a shape of VIA 3, a number for its kind and its coordinates, as VIA 2 writes it."""
    kind, numbers = next((name for number, name in enumerate(_SHAPES_3) if number == xy[0]), ""), xy[1:]
    if kind in FIELDS:
        return {"name": kind, **dict(zip(FIELDS[kind], numbers, strict=False))}
    if kind == "extreme_rectangle":
        return {"name": "polygon", **_box_around(numbers[::2], numbers[1::2])}
    return {"name": kind or f"of kind {xy[0]:g}", "all_points_x": numbers[::2], "all_points_y": numbers[1::2]}


def _box_around(x: Sequence[float], y: Sequence[float]) -> dict[str, object]:
    if not x or not y:
        return {}
    left, right, top, bottom = min(x), max(x), min(y), max(y)
    return {"all_points_x": [left, right, right, left], "all_points_y": [top, top, bottom, bottom]}
