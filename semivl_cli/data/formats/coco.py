"""COCO JSON of whatever tool: polygons and run-length codes of the annotations of an image -> its class map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeGuard, TypeVar

from pydantic import BeforeValidator, Discriminator, Tag

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.exported_split import ExportedSplit, split_of_file, split_of_folders
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.rle import Code
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.documents import Document, Id, as_type
from semivl_cli.errors import InputError, within

_PARTS = ("images", "annotations", "categories")


def _as_rings(value: object) -> object:
    """Bring polygons to one form, a list of `x, y, x, y, ...`: tools write a bare one too, and pairs of x and y."""
    if not isinstance(value, list):
        return value or None
    if value and not isinstance(value[0], list):
        return value if isinstance(value[0], dict) else [value]
    if len(value) > 2 and all(_is_point(point) for point in value):
        return [[number for point in value for number in point]]
    if value and value[0] and all(isinstance(ring, list) and all(map(_is_point, ring)) for ring in value):
        return [[number for point in ring for number in point] for ring in value]
    return value


def _is_point(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and not isinstance(value[0], list)


def _form(value: object) -> str:
    return "code" if isinstance(value, Mapping | Code) else "none" if value is None else "polygons"


Segmentation = Annotated[
    Annotated[list[list[float]], Tag("polygons")] | Annotated[Code, Tag("code")] | Annotated[None, Tag("none")],
    Discriminator(_form),
    BeforeValidator(_as_rings),
]


class CocoImage(Document):
    """An entry of `images`."""

    id: Id
    file_name: str | None = None
    coco_url: str | None = None
    """Of files in the form of LVIS, which have no name."""
    height: float | None = None
    width: float | None = None

    @property
    def name(self) -> str:
        """Name or path of the image; nothing where the file tells none."""
        return self.file_name or self.coco_url or ""

    @property
    def size(self) -> tuple[int, int] | None:
        """`(H, W)`, where the file tells it."""
        return (round(self.height), round(self.width)) if self.height and self.width else None


class CocoCategory(Document):
    """An entry of `categories`; several may have one name, which then is one label."""

    id: Id
    name: str | int

    @property
    def label(self) -> str:
        """The name as text."""
        return str(self.name)


class CocoAnnotation(Document):
    """An entry of `annotations` that is no panoptic one."""

    id: Id | None = None
    image_id: Id
    category_id: Id
    segmentation: Segmentation = None
    attributes: Any = None
    """What CVAT adds."""

    @property
    def called(self) -> str:
        """How messages call it."""
        return f"annotation {'(without id)' if self.id is None else self.id}"

    @property
    def short(self) -> int:
        """Number of rings that have no inside, for they have fewer than three points."""
        return sum(len(ring) < 6 for ring in self.segmentation) if isinstance(self.segmentation, list) else 0

    @property
    def has_area(self) -> bool:
        """Whether anything of it can be painted."""
        return isinstance(self.segmentation, Code) or len(self.segmentation or ()) > self.short


class _Coco(Document):
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]
    info: Any = None


def find_coco(given: Given) -> list[Tree]:
    """Return the JSON files with annotations of objects; one that lacks a part is meant where it is given alone."""
    least = 2 if given.is_file else len(_PARTS)
    return [file for file, content in given.json if is_coco(content, least) and not is_panoptic(content)]


def is_coco(content: object, least: int = len(_PARTS)) -> TypeGuard[dict[str, Any]]:
    """Whether JSON has the parts of a COCO file, or `least` so many of them."""
    return isinstance(content, dict) and sum(isinstance(content.get(part), list) for part in _PARTS) >= least


def is_panoptic(content: dict[str, Any]) -> bool:
    """Whether the annotations of a COCO file are of segments of pictures."""
    annotations = content.get("annotations")
    return isinstance(annotations, list) and any(
        isinstance(one, dict) and "segments_info" in one for one in annotations[:10]
    )


def open_coco(file: Tree) -> Annotations:
    """Open a COCO file; an image without any annotation is one without a mask.

    Raises:
        InputError: if its images, categories or annotations lack what they need, or two have one id.
    """
    content = as_type(file.json(), _Coco, str(file))
    categories = by_id(content.categories, "categories", lambda one: one.label, file)
    images = by_id(content.images, "images", lambda one: one.name, file)
    drawn: dict[int | str, list[CocoAnnotation]] = {}
    for annotation in content.annotations:
        if annotation.category_id not in categories:
            raise InputError(
                f"{file}: {annotation.called} has the category {annotation.category_id!r}, "
                f"which is none of {some(categories)}"
            )
        drawn.setdefault(annotation.image_id, []).append(annotation)
    used = {one.category_id for one in content.annotations if one.has_area}
    tool = _tool_in_order(content)
    beside, split = place_of_images(file, content.images)
    folder = f"{beside}/" if beside else ""
    drawings = [
        Drawing(
            image=f"{folder}{image.name}",
            origin=f"{file}: image {image.id}",
            stamp=f"{file.stamp} {tool or 'by size'}",
            size=image.size,
            paint=partial(_paint, drawn[image.id], categories, f"{file}: image {image.id}", tool is None),
            marks=len(drawn[image.id]),
            split=split,
        )
        for image in images.values()
        if image.id in drawn
    ]
    return Annotations(
        kind="COCO JSON",
        where=str(file),
        labels={one.label: None for one in categories.values() if one.id in used},
        drawings=lambda: drawings,
        notes=list(_notes(content, len(images) - len(drawings))),
        strays=[
            f"{file}: {first.called}{f' and {len(others)} more' if others else ''}: "
            f"image_id {number!r} is none of {some(images)}"
            for number, (first, *others) in drawn.items()
            if number not in images
        ],
        on_top=f"what the file lists later lies on top, as in {tool}" if tool else "the smaller one lies on top",
        home=Path(beside) if beside and file.archive is None else None,
    )


def _tool_in_order(content: _Coco) -> str | None:
    """Return the tool that wrote a file, if it is one whose files list what lies on top last."""
    info = content.info if isinstance(content.info, dict) else {}
    if info.get("contributor") == "Label Studio":
        return "Label Studio"
    if "VGG Image Annotator" in str(info.get("description")):
        return "VIA"
    by_cvat = any(isinstance(one.attributes, dict) and "occluded" in one.attributes for one in content.annotations)
    return "CVAT" if by_cvat else None


def _notes(content: _Coco, without: int) -> Iterable[str]:
    if without:
        yield f"{without} of {len(content.images)} images have no annotation: they have no mask"
    boxes = sum(not one.segmentation for one in content.annotations)
    if boxes:
        yield f"annotations without a segmentation, such as boxes: {boxes}; they paint nothing"
    short = [one for one in content.annotations if one.short and one.segmentation]
    if short:
        count = sum(one.short for one in short)
        yield (
            f"polygons of fewer than three points: {count}, for example in {short[0].called} of image "
            f"{short[0].image_id}; they paint nothing"
        )


def _paint(
    annotations: Sequence[CocoAnnotation],
    categories: Mapping[int | str, CocoCategory],
    origin: str,
    smaller_on_top: bool,
    key: Key,
    size: tuple[int, int],
) -> Canvas:
    canvas = Canvas(size, key.background, smaller_on_top=smaller_on_top)
    for annotation in annotations:
        if annotation.has_area:
            class_id = key.class_of[categories[annotation.category_id].label]
            paint_segmentation(canvas, annotation, class_id, origin)
    return canvas


def paint_segmentation(
    canvas: Canvas, annotation: CocoAnnotation, class_id: int, origin: str, *, keep_thin: bool = True
) -> None:
    """Paint an annotation; raises `InputError` where its segmentation is broken, naming it."""
    with within(f"{origin}: {annotation.called}"):
        if isinstance(annotation.segmentation, Code):
            canvas.code(annotation.segmentation, class_id)
        else:
            canvas.polygons(annotation.segmentation or (), class_id, keep_thin=keep_thin)


_Entry = TypeVar("_Entry", CocoImage, CocoCategory)


def by_id(entries: Sequence[_Entry], part: str, name: Callable[[_Entry], str], file: Tree) -> dict[int | str, _Entry]:
    """Return images or categories by their id; raises `InputError` where one has no name, or two have one id."""
    found: dict[int | str, _Entry] = {}
    for entry in entries:
        other = found.setdefault(entry.id, entry)
        if not name(entry):
            raise InputError(f"{file}: {part}: the one of id {entry.id!r} has no name")
        if name(other) != name(entry):
            raise InputError(
                f"{file}: two of its {part}, {name(other)!r} and {name(entry)!r}, have the id {entry.id!r}: "
                "give each its own"
            )
    return found


def place_of_images(file: Tree, images: Sequence[CocoImage]) -> tuple[str, ExportedSplit | None]:
    """Return the folder of a file, where its images lie beside it, and what they are held for, where names tell."""
    folder = PurePosixPath(file.entry if file.archive else file.path.as_posix()).parent
    split = split_of_folders([folder.name]) or split_of_file(PurePosixPath(file.name).stem)
    beside = any(file.beside(image.name) for image in images[:20])
    return (str(folder) if beside else ""), split


def some(known: Mapping[int | str, object]) -> str:
    """Name the first few ids."""
    shown = ", ".join(repr(number) for number in list(known)[:10])
    return f"{shown}, ... ({len(known)} in all)" if len(known) > 10 else shown


FORMAT = Format(title="COCO JSON", find=find_coco, open=open_coco)
