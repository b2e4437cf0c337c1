"""Recognises by its content what a file or folder of an annotation tool is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from semivl_cli.data.drawing.annotations import Annotations, Pictures
from semivl_cli.data.drawing.names import ImageNames
from semivl_cli.data.drawing.tree import Tree
from semivl_cli.data.formats.coco import is_coco, open_coco
from semivl_cli.data.formats.folders import look_like_masks, open_masks
from semivl_cli.data.formats.labelme import is_labelme, open_labelme
from semivl_cli.data.formats.labelstudio import is_labelstudio, open_labelstudio
from semivl_cli.data.formats.voc import FOLDERS, open_voc
from semivl_cli.data.formats.yolo import open_yolo
from semivl_cli.errors import InputError
from semivl_cli.files import image_suffixes

KNOWN = (
    "COCO JSON, labelme JSON, Label Studio JSON, CVAT's Segmentation mask archive, Pascal VOC's layout, YOLO polygons, "
    "a folder of masks, a folder of images, or a text file of image paths"
)

_SAMPLE = 12
"""Pictures that are looked at to tell masks from photographs."""


def open_source(path: Path, class_names: Sequence[str], images: ImageNames) -> list[Annotations | Pictures]:
    """Open whatever `path` is.

    Args:
        path: a file, a folder or a zip archive.
        class_names: of the definition; masks of one class each are named after them.
        images: that masks may belong to.

    Raises:
        InputError: if it is nothing that can be read; names what can be.
    """
    tree = Tree.open(path)
    if tree.archive is None and path.is_file():
        return [_open_file(tree)]
    texts: list[Tree] = []
    folders: set[str] = set()
    pictures: list[Tree] = []
    for name, file in tree.files():
        folders.update(name.split("/")[:-1])
        if not file.is_picture:
            texts.append(file)
        elif len(pictures) < _SAMPLE:
            pictures.append(file)
    return _open_folder(tree, texts, folders, pictures, class_names, images)


def _open_folder(
    tree: Tree,
    texts: Sequence[Tree],
    folders: set[str],
    pictures: Sequence[Tree],
    class_names: Sequence[str],
    images: ImageNames,
) -> list[Annotations | Pictures]:
    names = {file.name.lower() for file in texts}
    holds = tree.path if pictures and tree.archive is None else None
    if names & {"labelmap.txt", "class_names.txt"} or folders & set(FOLDERS):
        photographs = tree.path / "JPEGImages"
        return [open_voc(tree), *_beside(photographs if photographs.is_dir() else None)]
    documents = [(file, file.json()) for file in texts if file.suffix == ".json"]
    if any(is_labelme(content) for _, content in documents):
        return [open_labelme(tree), *_beside(holds)]
    found: list[Annotations | Pictures] = []
    for file, content in documents:
        if is_coco(content) or is_labelstudio(content):
            found.append(_open_json(file, content))
    if found:
        return [*found, *_beside(holds)]
    if any(file.suffix in (".yaml", ".yml") for file in texts) or names & {"classes.txt", "obj.names"}:
        return [open_yolo(tree), *_beside(holds)]
    found = _open_pictures(tree, pictures, folders, class_names, images)
    if found:
        return found
    raise InputError(f"{tree.path}: nothing in it is known; known are {KNOWN}")


def _open_pictures(
    tree: Tree, pictures: Sequence[Tree], folders: set[str], class_names: Sequence[str], images: ImageNames
) -> list[Annotations | Pictures]:
    """Open a folder that holds nothing but pictures."""
    if {"images", "masks"} <= folders and (tree.path / "masks").is_dir():
        return [open_masks(Tree(tree.path / "masks"), class_names, images), *_beside(tree.path / "images")]
    if look_like_masks(pictures):
        return [open_masks(tree, class_names, images)]
    return [] if tree.archive is not None or not pictures else [_pictures(tree.path)]


def _open_file(file: Tree) -> Annotations | Pictures:
    if file.suffix == ".json":
        return _open_json(file, file.json())
    if file.suffix in (".yaml", ".yml"):
        return open_yolo(Tree(file.path.parent))
    if file.suffix == ".txt":
        return _list(file)
    if file.suffix == ".xml":
        raise InputError(f"{file}: XML is not read: export from CVAT as 'Segmentation mask 1.1' or 'COCO 1.0'")
    raise InputError(f"{file}: not known; known are {KNOWN}")


def _open_json(file: Tree, content: object) -> Annotations:
    if is_coco(content):
        return open_coco(file)
    if is_labelme(content):
        return open_labelme(file)
    if is_labelstudio(content):
        return open_labelstudio(file)
    raise InputError(f"{file}: JSON that is neither COCO's, labelme's nor Label Studio's")


def _beside(folder: Path | None) -> list[Annotations | Pictures]:
    """Return the images that lie beside annotations."""
    return [] if folder is None else [_pictures(folder, beside=True)]


def _pictures(folder: Path, beside: bool = False) -> Pictures:
    def files() -> Iterator[Path]:
        for name, file in Tree(folder).files():
            if file.is_picture and not set(name.split("/")) & {*FOLDERS, "SegmentationObject", "masks"}:
                yield file.path

    return Pictures(kind="images", where=folder, files=files, beside=beside)


def _list(file: Tree) -> Pictures:
    """Open a list of image paths, one a line, relative to its own folder or absolute."""
    lines = [line.strip() for line in file.text().splitlines() if line.strip()]
    if not lines or not all(Path(line).suffix.lower() in image_suffixes() for line in lines):
        raise InputError(f"{file}: expected a path of an image on every line")

    def files() -> Iterator[Path]:
        for line in lines:
            yield Path(os.path.normpath(file.path.parent / line))  # `..` must not become part of an id

    return Pictures(kind="a list of images", where=file.path.parent, files=files, listed=True)
