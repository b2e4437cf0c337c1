"""COCO's panoptic form: JSON that says what the colours of pictures beside it are, one picture an image."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.label_pictures import read_picture
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.coco import CocoCategory, CocoImage, by_id, is_coco, is_panoptic, place_of_images, some
from semivl_cli.data.read.images import check_size
from semivl_cli.documents import Document, Id, as_type
from semivl_cli.errors import InputError


class _Segment(Document):
    id: int
    """Its colour: red + 256 green + 65536 blue."""
    category_id: Id


class _Annotation(Document):
    image_id: Id
    file_name: str
    """Of the picture."""
    segments_info: list[_Segment]


class _Panoptic(Document):
    images: list[CocoImage]
    annotations: list[_Annotation]
    categories: list[CocoCategory]


def find_panoptic(given: Given) -> list[Tree]:
    """Return the JSON files with annotations of segments."""
    return [file for file, content in given.json if is_coco(content) and is_panoptic(content)]


def open_panoptic(file: Tree) -> Annotations:
    """Open a panoptic file, and the pictures that lie in a folder of its name, or beside it.

    Raises:
        InputError: if its images, categories or annotations lack what they need, or two have one id.
    """
    content = as_type(file.json(), _Panoptic, str(file))
    categories = by_id(content.categories, "categories", lambda one: one.label, file)
    images = by_id(content.images, "images", lambda one: one.name, file)
    beside, split = place_of_images(file, content.images)
    folder = f"{beside}/" if beside else ""
    drawings: list[Drawing] = []
    strays: list[str] = []
    used: set[int | str] = set()
    for annotation in content.annotations:
        image = images.get(annotation.image_id)
        origin = f"{file}: {annotation.file_name}"
        labels = _labels(annotation, categories, origin)
        used.update(segment.category_id for segment in annotation.segments_info)
        if image is None:
            strays.append(f"{origin}: image_id {annotation.image_id!r} is none of {some(images)}")
            continue
        picture = _picture(file, annotation.file_name)
        drawings.append(
            Drawing(
                image=f"{folder}{image.name}",
                origin=origin,
                stamp=f"{file.stamp} {picture.stamp if picture else ''}",
                size=image.size,
                paint=partial(_paint, picture, labels, origin),
                parts=[picture] if picture else [],
                marks=len(annotation.segments_info),
                split=split,
            )
        )
    return Annotations(
        kind="COCO panoptic JSON",
        where=str(file),
        labels={one.label: None for one in categories.values() if one.id in used},
        drawings=lambda: drawings,
        strays=strays,
    )


def _picture(file: Tree, name: str) -> Tree | None:
    """Return a picture from the folder of the file's own name, beside the file or above it, or from its folder."""
    stem = PurePosixPath(file.name).stem
    places = (file.beside(f"{folder}{name}") for folder in (f"{stem}/", "", f"../{stem}/"))
    return next(filter(None, places), None)


def _labels(annotation: _Annotation, categories: Mapping[int | str, CocoCategory], origin: str) -> dict[int, str]:
    """Return the label of each colour."""
    labels: dict[int, str] = {}
    for segment in annotation.segments_info:
        category = categories.get(segment.category_id)
        if category is None:
            raise InputError(
                f"{origin}: segment {segment.id} has the category {segment.category_id!r}, "
                f"which is none of {some(categories)}"
            )
        if labels.setdefault(segment.id, category.label) != category.label:
            raise InputError(f"{origin}: two of its segments have the id {segment.id}, which is their colour")
    return labels


def _paint(picture: Tree | None, labels: Mapping[int, str], origin: str, key: Key, size: tuple[int, int]) -> Canvas:
    if picture is None:
        raise InputError(
            f"{origin}: a panoptic file needs its pictures in a folder of its own name beside it: this one is not there"
        )
    pixels = read_picture(picture)
    check_size(str(picture), pixels.shape, size)
    colors, inverse = np.unique(_numbers(pixels, picture), return_inverse=True)
    unknown = [color for color in colors.tolist() if color and color not in labels]
    if unknown:
        raise InputError(f"{picture}: it has segments that {origin} does not tell: {some(dict.fromkeys(unknown))}")
    classes = np.array([key.class_of[labels[color]] if color else key.background for color in colors.tolist()])
    ids = classes[inverse].reshape(size)
    drawn = (colors != 0)[inverse].reshape(size)
    canvas = Canvas(size, key.background)
    for class_id in np.unique(ids[drawn]).tolist():
        canvas.region(drawn & (ids == class_id), class_id)
    return canvas


def _numbers(pixels: NDArray[np.uint8], picture: Tree) -> NDArray[np.int64]:
    """Return the number `[H, W]` that each colour stands for."""
    if pixels.ndim != 3:
        raise InputError(f"{picture}: expected a picture of colours, as panoptic ones are, not of one channel")
    red, green, blue = np.moveaxis(pixels.astype(np.int64), 2, 0)
    numbers: NDArray[np.int64] = red + 256 * green + 65536 * blue
    return numbers


FORMAT = Format(title="COCO panoptic JSON", find=find_panoptic, open=open_panoptic, images="images")
