"""COCO JSON: polygons and run-length codes of the annotations of an image -> its class map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key, size_of
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.rle import decode_rle
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.errors import InputError


def find_coco(given: Given) -> list[Tree]:
    """Return the JSON files with annotations of objects."""
    return [
        file
        for file, content in given.json
        if isinstance(content, dict)
        and all(isinstance(content.get(part), list) for part in ("images", "annotations", "categories"))
    ]


def open_coco(file: Tree) -> Annotations:
    """Open a COCO file; an image without any annotation is one without a mask.

    Raises:
        InputError: if its images, categories or annotations lack what they need.
    """
    content: Any = file.json()
    categories = {one["id"]: str(one["name"]) for one in _checked(content, "categories", ("id", "name"), file)}
    images = _checked(content, "images", ("id", "file_name"), file)
    drawn: dict[Any, list[Mapping[str, Any]]] = {}
    boxes = 0
    for annotation in _checked(content, "annotations", ("image_id", "category_id"), file):
        if annotation["category_id"] not in categories:
            raise InputError(
                f"{file}: {_name(annotation)} has the category {annotation['category_id']!r}, "
                f"which is none of {_some(categories)}"
            )
        boxes += not annotation.get("segmentation")
        drawn.setdefault(annotation["image_id"], []).append(annotation)
    used = {annotation["category_id"] for annotations in drawn.values() for annotation in annotations}
    drawings = [
        Drawing(
            image=unquote(str(image["file_name"])).replace("\\", "/"),
            origin=f"{file}: image {image['id']}",
            stamp=file.stamp,
            size=size_of(image.get("height"), image.get("width")),
            paint=partial(_paint_image, drawn[image["id"]], categories, f"{file}: image {image['id']}"),
        )
        for image in images
        if image["id"] in drawn
    ]
    known = {image["id"]: image for image in images}
    strays = [
        f"{file}: {_name(annotations[0])}{f' and {len(annotations) - 1} more' if annotations[1:] else ''}: "
        f"image_id {number!r} is none of {_some(known)}"
        for number, annotations in drawn.items()
        if number not in known
    ]
    notes = []
    if len(drawings) < len(images):
        without = len(images) - len(drawings)
        notes.append(f"{without} of {len(images)} images have no annotation: they have no mask")
    if boxes:
        notes.append(f"annotations without a segmentation, such as boxes: {boxes}; they paint nothing")
    return Annotations(
        kind="COCO JSON",
        where=str(file),
        labels={name: None for number, name in categories.items() if number in used},
        drawings=lambda: drawings,
        notes=notes,
        strays=strays,
        on_top="the smaller one lies on top",
    )


def paint_annotations(
    annotations: Sequence[Mapping[str, Any]],
    class_of: Mapping[int, int],
    size: tuple[int, int],
    background: int,
    origin: str,
) -> Canvas:
    """Paint the annotations of one image, each over those before: crowds first, then from large to small.

    So where annotations overlap, the smaller one wins (a cup on a table), and of two equal ones the later; a crowd
    (`iscrowd`) gives way to every single object. Annotations without a segmentation, such as bare boxes, paint nothing.

    Args:
        annotations: of the image, as the file has them.
        class_of: category id -> class id, or 255 for categories that are ignored.
        size: `(H, W)` of the image.
        background: class id, or 255, of pixels in no annotation.
        origin: how messages call the image.

    Raises:
        InputError: if a category is not in `class_of`, or a segmentation is broken; names the annotation.
    """
    canvas = Canvas(size, background)
    drawn = [annotation for annotation in annotations if annotation.get("segmentation")]
    for annotation in sorted(drawn, key=lambda one: (not one.get("iscrowd"), -_area(one))):
        name, category = f"{origin}: {_name(annotation)}", annotation.get("category_id")
        if not isinstance(category, int) or category not in class_of:
            raise InputError(f"{name} has the category {category!r}, which is none of {_some(class_of)}")
        try:
            _paint(canvas, annotation["segmentation"], class_of[category])
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    return canvas


def _paint_image(
    annotations: Sequence[Mapping[str, Any]],
    categories: Mapping[int, str],
    origin: str,
    key: Key,
    size: tuple[int, int],
) -> Canvas:
    used = {annotation["category_id"] for annotation in annotations}
    class_of = {number: key.class_of[categories[number]] for number in sorted(used)}
    return paint_annotations(annotations, class_of, size, key.background, origin)


def _checked(content: Any, part: str, keys: Sequence[str], file: Tree) -> list[Mapping[str, Any]]:  # noqa: ANN401 - JSON
    entries: list[Mapping[str, Any]] = content[part]
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or any(not isinstance(entry.get(key), int | str) for key in keys):
            raise InputError(f"{file}: {part}[{index}]: expected an entry with {' and '.join(keys)}")
    return entries


def _paint(canvas: Canvas, segmentation: object, class_id: int) -> None:
    if isinstance(segmentation, Mapping):
        inside = decode_rle(segmentation)
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


def _some(known: Mapping[int, object]) -> str:
    shown = ", ".join(repr(number) for number in list(known)[:10])
    return f"{shown}, ... ({len(known)} in all)" if len(known) > 10 else shown


FORMAT = Format(title="COCO JSON", find=find_coco, open=open_coco)
