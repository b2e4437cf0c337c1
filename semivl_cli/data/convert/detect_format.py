"""Recognises by its content what a file, folder or archive of an annotation tool is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from semivl_cli.data.annotation.annotations import Annotations, Images
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.image_names import ImageNames
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats import (
    cityscapes,
    coco,
    coco_panoptic,
    cvat,
    datumaro,
    labelme,
    labelstudio,
    roboflow,
    supervisely,
    via,
    voc,
    voc_xml,
    yolo,
)
from semivl_cli.data.formats.image_folder import images_in, images_of_list, images_packed
from semivl_cli.data.formats.mask_folder import look_like_masks, open_masks
from semivl_cli.data.formats.mask_names import DETECTED, Affixes
from semivl_cli.errors import InputError, listed
from semivl_cli.files import bare

FORMATS = (
    voc.FORMAT,
    labelme.FORMAT,
    coco.FORMAT,
    coco_panoptic.FORMAT,
    labelstudio.FORMAT,
    supervisely.FORMAT,
    via.FORMAT,
    cityscapes.FORMAT,
    cvat.FORMAT,
    datumaro.FORMAT,
    roboflow.FORMAT,
    voc_xml.FORMAT,
    yolo.FORMAT,
)
"""In the order in which they are asked: the first one that finds anything decides."""

_TITLES = sorted(
    (one.title for one in FORMATS), key=lambda title: (not title.endswith("JSON"), title.replace(" ", "").casefold())
)
KNOWN = f"{', '.join(_TITLES)}, a folder of masks, a folder of images, or a text file of image paths"
_READ = f"known are {KNOWN}"

_IMAGES = ("images", "image", "imgs", "img", "img_dir", "jpegimages")
_MASKS = ("masks", "mask", "labels", "label", "annotations", "ann_dir", "gt")
"""What people call the folder of masks beside one of images, in whatever case."""
_LITTER = ("thumbs.db", "desktop.ini")
_OF_DATA = frozenset(
    (
        ".csv", ".geojson", ".h5", ".hdf5", ".json", ".jsonl", ".mat", ".ndjson", ".npy", ".npz", ".parquet", ".pkl",
        ".svg", ".tfrecord", ".tsv", ".xls", ".xlsx", ".xml", ".7z", ".gz", ".rar", ".tar", ".tgz", ".zip",
    )
)  # fmt: skip
"""What tools keep annotations in; beside what is read, such files are told."""


def open_source(
    path: Path, class_names: Sequence[str], images: ImageNames, unpack_to: Path, affixes: Affixes = DETECTED
) -> list[Annotations | Images]:
    """Open whatever `path` is: a file, a folder or a zip archive.

    Masks may belong to `images`; those of one class each are named after `class_names`, and those whose names end in
    what `affixes` say are masks and nothing else. Images in an archive are unpacked below `unpack_to` once they are
    asked for.

    Raises:
        InputError: if it is nothing that can be read; names what can be.
    """
    given = Given(Tree.open(path))
    meant = bool(affixes.mask) and any(bare(file.name).endswith(str(affixes.mask)) for file in given.pictures)
    found = ((part, one) for one in (() if meant else FORMATS) for part in one.find(given))
    first, format_ = next(found, (None, None))
    if first is None or format_ is None:
        if given.is_file:
            return [_open_list(given.tree)]
        return _open_pictures(given, class_names, images, unpack_to, affixes)
    if first == given.tree:
        annotations = [format_.open(first)]
        others = _other_annotations(given, found)
        told = f"{path}: {_some(others)} beside {format_.title}: name it alone to take it in" if others else ""
    else:  # single files of it, and perhaps of other formats beside them
        opener = {first: format_, **{file: other for file, other in found if file != given.tree}}
        annotations = [opener[file].open(file) for file in given.files if file in opener]
        others = [str(file) for file in given.files if file.suffix in _OF_DATA and file not in opener]
        told = f"{path}: {_some(others)}: of no format that is read: passed over" if others else ""
    notes = [told] if told and not given.is_file else []
    annotations[0] = replace(annotations[0], notes=[*annotations[0].notes, *notes])
    at_home = [images_in(one.home, beside=True) for one in annotations if given.is_file and one.home is not None]
    return [*annotations, *at_home, *_images_beside(given, format_.images, unpack_to)]


def _other_annotations(given: Given, found: Iterator[tuple[Tree, Format]]) -> list[str]:
    """Return the files of other formats in a whole that was recognised."""
    try:
        return [f"{file} ({other.title})" for file, other in found if file != given.tree]
    except InputError:  # something that is no JSON is nothing of the whole
        return []


def _images_and_masks(given: Given) -> tuple[str, str] | None:
    """Return what the folders of images and of their masks are called, where the names and the pictures tell."""
    if {"images", "masks"} <= given.folders:
        return "images", "masks"
    of_images, of_masks = ([name for name in given.folders if name.casefold() in some] for some in (_IMAGES, _MASKS))
    if len(of_images) != 1 or len(of_masks) != 1:
        return None
    inside = (file for name, file in given.tree.files() if file.is_picture and of_masks[0] in name.split("/")[:-1])
    return (of_images[0], of_masks[0]) if look_like_masks(list(islice(inside, 12))) else None


def _images_beside(given: Given, folder: str, unpack_to: Path, masks: str = "masks") -> list[Images]:
    """Return the images that came along with annotations, in the first folder of that name; `.` is the whole."""
    if not given.pictures or (folder != "." and folder not in given.folders):
        return []
    if folder != ".":
        within = (name.split("/")[:-1] for name, _ in given.tree.files())
        first = next(parts for parts in within if folder in parts)
        folder = "/".join(first[: first.index(folder) + 1])
    if given.tree.archive is not None:
        return [images_packed(given.tree, folder, unpack_to, beside=True, masks=masks)]
    return [images_in(given.tree.path / folder, beside=True, masks=masks)]


def _open_list(file: Tree) -> Images:
    """Open the only file that is of no format: a list of images."""
    if file.suffix == ".txt":
        return images_of_list(file)
    if file.suffix in (".csv", ".tsv"):
        raise InputError(f"{file}: a table that VIA 1 or 2 did not write: export JSON from the tool; {_READ}")
    if file.suffix in (".json", ".jsonl", ".ndjson"):
        raise InputError(f"{file}: JSON of no kind that is read; {_READ}")
    if file.suffix == ".xml":
        raise InputError(f"{file}: XML that is not CVAT's: export 'CVAT for images 1.1' from there; {_READ}")
    if file.suffix in (".7z", ".gz", ".rar", ".tar", ".tgz"):
        raise InputError(f"{file}: archives other than zip are not read here: unpack it, and name the folder")
    raise InputError(f"{file}: not known; {_READ}")


def _open_pictures(
    given: Given, class_names: Sequence[str], images: ImageNames, unpack_to: Path, affixes: Affixes
) -> list[Annotations | Images]:
    """Open a folder or archive that holds nothing but pictures, and perhaps files of which none is known."""
    tree = given.tree
    others = [str(file) for file in given.files if file.name.lower() not in _LITTER]
    if not given.pictures:
        raise InputError(f"{tree}: nothing in it is known{f' ({_some(others)})' if others else ''}; {_READ}")
    why = "mask_suffix says what is meant" if affixes.mask else "of no format that is read"
    notes = [f"{tree}: {_some(others)}: {why}: the pictures are taken alone"] if others else []
    pair = _images_and_masks(given)
    if pair is not None:
        of_images, of_masks = pair
        if {of_images, of_masks} <= {name.partition("/")[0] for name, _ in tree.files() if "/" in name}:
            masks = open_masks(tree.below(of_masks), class_names, images, affixes, notes)
            return [masks, *_images_beside(given, of_images, unpack_to)]
        masks = open_masks(tree, class_names, images, affixes, notes, inside=of_masks)
        return [masks, *_images_beside(given, ".", unpack_to, masks=of_masks)]
    end = affixes.mask
    ending = bool(end) and any(file.is_picture and bare(name).endswith(str(end)) for name, file in tree.files())
    if ending or look_like_masks(given.pictures):
        return [open_masks(tree, class_names, images, affixes, notes)]
    if tree.archive is not None:
        return [images_packed(tree, ".", unpack_to, notes=notes)]
    return [images_in(tree.path, notes=notes)]


def _some(names: Sequence[str]) -> str:
    """Return how many names there are, and the first of them."""
    return f"{len(names)} file{'s' if names[1:] else ''}, {listed(names, 3)}"
