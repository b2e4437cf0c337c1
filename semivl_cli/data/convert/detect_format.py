"""Recognises by its content what a file, folder or archive of an annotation tool is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semivl_cli.data.annotation.annotations import Annotations, Images
from semivl_cli.data.annotation.format_contract import Given
from semivl_cli.data.annotation.image_names import ImageNames
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats import coco, labelme, labelstudio, supervisely, via, voc, yolo
from semivl_cli.data.formats.image_folder import images_in, images_of_list
from semivl_cli.data.formats.mask_folder import look_like_masks, open_masks
from semivl_cli.errors import InputError

FORMATS = (voc.FORMAT, labelme.FORMAT, coco.FORMAT, labelstudio.FORMAT, supervisely.FORMAT, via.FORMAT, yolo.FORMAT)
"""In the order in which they are asked: the first one that finds anything decides."""

_TITLES = sorted(
    (one.title for one in FORMATS), key=lambda title: (not title.endswith("JSON"), title.replace(" ", "").casefold())
)
KNOWN = f"{', '.join(_TITLES)}, a folder of masks, a folder of images, or a text file of image paths"


def open_source(path: Path, class_names: Sequence[str], images: ImageNames) -> list[Annotations | Images]:
    """Open whatever `path` is: a file, a folder or a zip archive.

    Masks may belong to `images`; those of one class each are named after `class_names`.

    Raises:
        InputError: if it is nothing that can be read; names what can be.
    """
    given = Given(Tree.open(path))
    found = ((part, one) for one in FORMATS for part in one.find(given))
    first, format_ = next(found, (None, None))
    if first is None or format_ is None:
        return [_open_list(given.tree)] if given.is_file else _open_pictures(given, class_names, images)
    if first == given.tree:
        annotations = [format_.open(first)]
    else:  # single files of it, and perhaps of other formats beside them
        opener = {first: format_, **{file: other for file, other in found if file != given.tree}}
        annotations = [opener[file].open(file) for file in given.files if file in opener]
    folder = path / format_.images
    return [*annotations, *([images_in(folder, beside=True)] if given.pictures and folder.is_dir() else [])]


def _open_list(file: Tree) -> Images:
    """Open the only file that is of no format: a list of images."""
    if file.suffix == ".txt":
        return images_of_list(file)
    if file.suffix == ".json":
        *names, last = (f"{title.removesuffix(' JSON')}'s" for title in _TITLES if title.endswith(" JSON"))
        raise InputError(f"{file}: JSON that is neither {', '.join(names)} nor {last}")
    if file.suffix == ".xml":
        raise InputError(f"{file}: XML is not read: export from CVAT as 'Segmentation mask 1.1' or 'COCO 1.0'")
    raise InputError(f"{file}: not known; known are {KNOWN}")


def _open_pictures(given: Given, class_names: Sequence[str], images: ImageNames) -> list[Annotations | Images]:
    """Open a folder or archive that holds nothing but pictures."""
    path = given.tree.path
    if {"images", "masks"} <= given.folders and (path / "masks").is_dir():
        return [open_masks(Tree(path / "masks"), class_names, images), images_in(path / "images", beside=True)]
    if look_like_masks(given.pictures):
        return [open_masks(given.tree, class_names, images)]
    if given.pictures and given.tree.archive is None:
        return [images_in(path)]
    raise InputError(f"{path}: nothing in it is known; known are {KNOWN}")
