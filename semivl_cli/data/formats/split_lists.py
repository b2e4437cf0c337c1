"""What an exporter held images for, as its lists of images tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from semivl_cli.data.annotation.exported_split import ExportedSplit, split_of_file
from semivl_cli.data.annotation.image_names import ImageNames


def splits_of_lists(images: Sequence[str], lists: Mapping[str, Sequence[str]]) -> dict[str, ExportedSplit]:
    """Return what images are held for by lists such as `val.txt` (path -> names of images), if for one thing alone."""
    find = ImageNames(images).find
    told: dict[str, set[ExportedSplit]] = {}
    for name, lines in lists.items():
        if split := split_of_file(PurePosixPath(name).stem):
            for image in (image for line in lines for image in find(line.strip())):
                told.setdefault(image, set()).add(split)
    return {image: next(iter(splits)) for image, splits in told.items() if len(splits) == 1}
