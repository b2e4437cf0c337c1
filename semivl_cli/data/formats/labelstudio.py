"""Label Studio's JSON and JSON-MIN: polygons, boxes and ellipses in percent, brush strokes as run-length codes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key, size_of
from semivl_cli.data.annotation.canvas import Canvas, ellipse
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.rle import decode_brush
from semivl_cli.data.annotation.tree import Tree, bare
from semivl_cli.errors import InputError

_KINDS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels", "labels")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of an uploaded file."""


def find_labelstudio(given: Given) -> list[Tree]:
    """Return the JSON files that hold a list of tasks, or one."""
    contents = ((file, content if isinstance(content, list) else [content]) for file, content in given.json)
    return [file for file, tasks in contents if tasks and all(_is_task(task) for task in tasks[:10])]


def open_labelstudio(file: Tree) -> Annotations:
    """Open an export; a task that was not annotated is an image without a mask."""
    content: Any = file.json()
    tasks = content if isinstance(content, list) else [content]
    labels: dict[str, None] = {}
    drawings: list[Drawing] = []
    several = 0
    for task in tasks:
        image, regions, others = _read_task(task)
        several += others > 0
        if regions is None:
            continue
        labels.update(dict.fromkeys(label for region in regions for label in _labels(region)))
        origin = f"{file}: task {task.get('id', '(without id)')}"
        paint = partial(_paint, regions, origin)
        drawings.append(Drawing(image=image, origin=origin, stamp=file.stamp, size=_size(regions), paint=paint))
    notes = []
    if several:
        notes.append(f"{several} tasks were annotated more than once: the ground truth counts, else the newest")
    if len(drawings) < len(tasks):
        bare_tasks = len(tasks) - len(drawings)
        notes.append(f"{bare_tasks} of {len(tasks)} tasks were not annotated: their images have no mask")
    return Annotations(
        kind="Label Studio JSON", where=str(file.path), labels=labels, drawings=lambda: drawings, notes=notes
    )


def _is_task(task: object) -> bool:
    if not isinstance(task, dict):
        return False
    full = isinstance(task.get("data"), dict) and any(key in task for key in ("annotations", "completions"))
    return full or (bool(_image_of(task)) and ("annotation_id" in task or "annotator" in task or bool(_inline(task))))


def _read_task(task: Mapping[str, Any]) -> tuple[str, Sequence[Mapping[str, Any]] | None, int]:
    """Return the image, the regions of the annotation that counts, if there is one, and how many others there are."""
    data = task.get("data")
    if not isinstance(data, dict):
        return _image_of(task), _inline(task), 0
    given = task.get("annotations", task.get("completions")) or []
    valid = [one for one in given if isinstance(one, dict) and not one.get("was_cancelled")]
    if not valid:
        return _image_of(data), None, 0
    chosen = max(valid, key=lambda one: (bool(one.get("ground_truth")), str(one.get("updated_at", ""))))
    return _image_of(data), [one for one in chosen.get("result") or [] if isinstance(one, dict)], len(valid) - 1


def _inline(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the regions of a task of JSON-MIN, whose values stand beside each other under the name of the control."""
    lists = [value for value in task.values() if isinstance(value, list)]
    return [
        one for regions in lists for one in regions if isinstance(one, dict) and any(kind in one for kind in _KINDS)
    ]


def _image_of(data: Mapping[str, Any]) -> str:
    """Return the image of a task: the first value that names a picture, without the address of its server."""
    for value in data.values():
        if isinstance(value, str):
            name = clean_name(value)
            if bare(name) != name:
                return name
    return ""


def clean_name(value: str) -> str:
    """Return the path of an image from what Label Studio writes: an address, a local file, an uploaded file."""
    parts = urlsplit(value)
    local = parse_qs(parts.query).get("d")
    path = local[0] if local else unquote(parts.path)
    folder, _, name = path.replace("\\", "/").rpartition("/")
    if "/upload/" in f"/{folder}/":
        return _UPLOADED.sub("", name)
    return f"{folder}/{name}".lstrip("/")


def _labels(region: Mapping[str, Any]) -> list[str]:
    """Return the labels of a region that has an area."""
    value = region.get("value", region)
    if not isinstance(value, dict):
        return []
    has_area = any(key in value for key in ("rle", "points", "radiusX")) or ("width" in value and "height" in value)
    return [str(label) for kind in _KINDS for label in (value.get(kind) or [])] if has_area else []


def _size(regions: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    sizes = (size_of(region.get("original_height"), region.get("original_width")) for region in regions)
    return next((size for size in sizes if size), None)


def _paint(regions: Sequence[Mapping[str, Any]], origin: str, key: Key, size: tuple[int, int]) -> Canvas:
    """Paint the regions in the order of the file, each over those before."""
    canvas = Canvas(size, key.background)
    for region in regions:
        labels = _labels(region)
        if not labels:
            continue
        name = f"{origin}: region {region.get('id', '(without id)')} ({labels[0]})"
        if len(labels) > 1:
            raise InputError(f"{name} has {len(labels)} labels, a pixel has one class")
        if region.get("image_rotation"):
            raise InputError(f"{name}: the image was turned in Label Studio: turn it back there, or turn the file")
        try:
            _paint_region(canvas, region.get("value", region), key.class_of[labels[0]])
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    return canvas


def _paint_region(canvas: Canvas, value: Mapping[str, Any], class_id: int) -> None:
    height, width = canvas.ids.shape
    if "rle" in value:
        opacity = decode_brush(value["rle"], height * width * 4)[3::4]  # red, green, blue, opacity
        canvas.region(opacity.reshape(height, width) >= 128, class_id)
        return
    if "points" in value:
        points = value["points"]
        if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
            raise InputError("expected points that are pairs of x and y in percent")
        percent = [tuple(point) for point in points]
    elif "radiusX" in value:
        x, y, across, down = _numbers(value, "x", "y", "radiusX", "radiusY")
        percent = ellipse(x, y, across, down)
    else:
        x, y, across, down = _numbers(value, "x", "y", "width", "height")
        percent = [(x, y), (x + across, y), (x + across, y + down), (x, y + down)]
    if not all(isinstance(part, int | float) for point in percent for part in point):
        raise InputError("expected coordinates that are numbers in percent")
    pixels = [(x * width / 100, y * height / 100) for x, y in percent]
    turn = math.radians(value.get("rotation") or 0)
    if turn and "points" not in value:  # about the upper left corner of a box, and the centre of an ellipse
        left, top = value["x"] * width / 100, value["y"] * height / 100
        cos, sin = math.cos(turn), math.sin(turn)
        pixels = [
            (left + (x - left) * cos - (y - top) * sin, top + (x - left) * sin + (y - top) * cos) for x, y in pixels
        ]
    canvas.polygon(pixels, class_id)


def _numbers(value: Mapping[str, Any], *names: str) -> list[float]:
    found = [value.get(name) for name in names]
    if not all(isinstance(number, int | float) for number in found):
        raise InputError(f"expected numbers in percent for {', '.join(names)}")
    return [float(number) for number in found if number is not None]


FORMAT = Format(title="Label Studio JSON", find=find_labelstudio, open=open_labelstudio)
