"""COCO JSON: polygons and run-length codes of the annotations of an image -> its class map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from semivl_cli.data.formats.canvas import Canvas
from semivl_cli.data.formats.runs import decode_runs
from semivl_cli.errors import InputError


def paint_annotations(
    annotations: Sequence[Mapping[str, Any]], class_of: Mapping[int, int], size: tuple[int, int], background: int
) -> Canvas:
    """Paint the annotations of one image, each over those before: crowds first, then from large to small.

    So where annotations overlap, the smaller one wins (a cup on a table), and of two equal ones the later; a crowd
    (`iscrowd`) gives way to every single object. Annotations without a segmentation, such as bare boxes, paint nothing.

    Args:
        annotations: of the image, as the file has them.
        class_of: category id -> class id, or 255 for categories that are ignored.
        size: `(H, W)` of the image.
        background: class id, or 255, of pixels in no annotation.

    Raises:
        InputError: if a category is not in `class_of`, or a segmentation is broken; names the annotation.
    """
    canvas = Canvas(size, background)
    drawn = [annotation for annotation in annotations if annotation.get("segmentation")]
    for annotation in sorted(drawn, key=lambda one: (not one.get("iscrowd"), -_area(one))):
        category = annotation.get("category_id")
        if not isinstance(category, int) or category not in class_of:
            raise InputError(f"{_name(annotation)} has the category {category!r}, which is none of {_some(class_of)}")
        try:
            _paint(canvas, annotation["segmentation"], class_of[category])
        except InputError as error:
            raise InputError(f"{_name(annotation)}: {error}") from error
    return canvas


def _paint(canvas: Canvas, segmentation: object, class_id: int) -> None:
    if isinstance(segmentation, Mapping):
        inside = decode_runs(segmentation)
        if inside.shape != canvas.ids.shape:
            raise InputError(
                f"its run-length code is {inside.shape[1]} x {inside.shape[0]} pixels (width x height), "
                f"the image is {canvas.ids.shape[1]} x {canvas.ids.shape[0]}"
            )
        canvas.region(inside, class_id)
    elif isinstance(segmentation, list) and all(isinstance(ring, list) for ring in segmentation):
        canvas.polygons(segmentation, class_id)
    elif isinstance(segmentation, list):
        canvas.polygons([segmentation], class_id)
    else:
        raise InputError("its segmentation is neither a list of polygons nor a run-length code")


def _area(annotation: Mapping[str, Any]) -> float:
    """Return the area by which annotations are ordered: as told, else of the box, else 0."""
    area, box = annotation.get("area"), annotation.get("bbox")
    if isinstance(area, int | float) and area > 0:
        return float(area)
    if isinstance(box, list) and len(box) == 4 and all(isinstance(number, int | float) for number in box):
        return float(box[2] * box[3])
    return 0.0


def _name(annotation: Mapping[str, Any]) -> str:
    return f"annotation {annotation.get('id', '(without id)')}"


def _some(known: Mapping[int, int]) -> str:
    shown = ", ".join(str(number) for number in list(known)[:10])
    return f"{shown}, ... ({len(known)} in all)" if len(known) > 10 else shown
