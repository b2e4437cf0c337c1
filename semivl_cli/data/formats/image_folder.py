"""Images without masks: a folder of them, or a text file of their paths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from semivl_cli.data.annotation.annotations import Images
from semivl_cli.data.annotation.tree import Tree, bare
from semivl_cli.data.formats.voc import FOLDERS
from semivl_cli.errors import InputError

_OF_MASKS = frozenset((*FOLDERS, "SegmentationObject", "masks"))
"""Folders whose pictures are no images."""


def images_in(folder: Path, beside: bool = False) -> Images:
    """Return the images of a folder; `beside`: they lie beside annotations, which were what was meant."""

    def files() -> Iterator[Path]:
        for name, file in Tree(folder).files():
            if file.is_picture and _OF_MASKS.isdisjoint(name.split("/")):
                yield file.path

    return Images(kind="images", where=folder, files=files, beside=beside)


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
