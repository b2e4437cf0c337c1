"""Images without masks: a folder of them, an archive, or a text file of their paths."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from semivl_cli.data.annotation.annotations import Images
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.roboflow import CLASSES, MASK
from semivl_cli.data.formats.voc import FOLDERS
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import FULL, bare, replacing_folder

_OF_MASKS = frozenset(
    (
        *FOLDERS,
        "SegmentationObject",
        "masks_machine",
        "masks_human",
        "masks_instances",
    )  # the last: Supervisely's
)
"""Folders whose pictures are no images."""
_STAMP = ".unpacked"
"""File that tells from what state of an archive its images were unpacked."""


def images_in(folder: Path, beside: bool = False, notes: Sequence[str] = (), masks: str = "masks") -> Images:
    """Return the images of a folder; `beside`: they lie beside annotations, which were what was meant.

    What lies in folders called `masks` is none.
    """

    def files() -> Iterator[Path]:
        yield from (file.path for _, file in _pictures(Tree(folder), masks))

    return Images(kind="images", where=folder, files=files, beside=beside, notes=notes)


def images_packed(
    archive: Tree, folder: str, unpack_to: Path, beside: bool = False, notes: Sequence[str] = (), masks: str = "masks"
) -> Images:
    """Return the images in a folder of an archive, which are unpacked below `unpack_to` when they are asked for."""
    digest = hashlib.sha256(os.fsencode(archive.path)).hexdigest()[:8]
    place = unpack_to / digest / archive.path.stem

    def files() -> Iterator[Path]:
        _unpack(archive.below(folder) if folder != "." else archive, place, masks)
        yield from (file.path for _, file in _pictures(Tree(place), masks))

    return Images(kind=f"images of {archive.path}", where=place, files=files, beside=beside, unpacked=True, notes=notes)


def images_of_list(file: Tree) -> Images:
    """Return the images that a text file names, a path a line, relative to its own folder or absolute.

    Raises:
        InputError: if a line is no path of an image.
    """
    lines = [line.strip() for line in file.text().splitlines() if line.strip()]
    if not lines or not all(bare(line) != line for line in lines):
        raise InputError(f"{file}: expected a path of an image on every line")

    def files() -> Iterator[Path]:
        for line in lines:
            yield Path(os.path.normpath(file.path.parent / line))  # `..` must not become part of an id

    return Images(kind="a list of images", where=file.path.parent, files=files, listed=True)


def _pictures(tree: Tree, masks: str) -> Iterator[tuple[str, Tree]]:
    return ((name, file) for name, file in tree.files() if file.is_picture and not _is_mask(name, file, masks))


def _is_mask(name: str, file: Tree, masks: str) -> bool:
    """Whether a picture is the mask of another, by its folder, or as Roboflow calls them."""
    in_folder = not {*_OF_MASKS, masks}.isdisjoint(name.split("/")[:-1])
    return in_folder or bool(bare(name).endswith(MASK) and file.beside(CLASSES))


def _unpack(packed: Tree, place: Path, masks: str) -> None:
    """Unpack the images of an archive, all or none, unless they are there already.

    Raises:
        RunError: if they cannot be written.
    """
    state = packed.path.stat()
    stamp = f"{packed.path} {packed.entry} {state.st_size} {state.st_mtime_ns}"
    try:
        if (place / _STAMP).is_file() and (place / _STAMP).read_text(encoding="utf-8") == stamp:
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing_folder(place) as temporary:
            for name, file in _pictures(packed, masks):
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                (temporary / name).write_bytes(file.read())
            (temporary / _STAMP).write_text(stamp, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(place, ignore_errors=True)
        why = "the disk is full" if error.errno in FULL else error.strerror or str(error)
        raise RunError(f"{packed.path}: its images cannot be unpacked to {place} ({why}): nothing was left") from error
