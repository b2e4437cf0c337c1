"""COCO 2017 with 80 thing classes and background: 118,287 training and 5,000 validation images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import SPLITS, Classes, Record, Say, Split, stored_ids
from semivl_cli.data.ids import read_ids
from semivl_cli.data.obtain import Archive, find_home, obtain
from semivl_cli.errors import InputError

IMAGES = (
    Archive(
        name="train2017.zip",
        url="http://images.cocodataset.org/zips/train2017.zip",
        size=19_336_861_798,
        md5="cced6f7f71b7629ddf16f17bbcfab6b2",
        holds={"train2017/*.jpg": 118_287},
    ),
    Archive(
        name="val2017.zip",
        url="http://images.cocodataset.org/zips/val2017.zip",
        size=815_585_330,
        md5="442b8da7639aecaf257c1dceb8ba8c80",
        holds={"val2017/*.jpg": 5_000},
    ),
)
ANNOTATIONS = Archive(
    name="annotations_trainval2017.zip",
    url="http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
    size=252_907_541,
    md5="f4bbac642086de4f52a3fdda2de5fa2c",
    holds={"annotations/instances_train2017.json": 1, "annotations/instances_val2017.json": 1},
)

_SPLITS = Path(__file__).parent / "splits"
_LAYOUTS = ("", "images")


class COCO:
    """Reads `train2017/`, `val2017/` and `masks/<id>.png` (0 background, 1..80 the things in category order)."""

    name = "coco"
    definition = "coco"
    recipe = "recipe.toml"

    def records(self, root: Path, split: Split) -> Iterator[Record]:
        """Yield every image of `train2017/`, or the images of the validation list."""
        images, masks = _images(root, split), root / "masks"
        if images is None or not masks.is_dir():
            raise InputError(
                f"{root}: expected COCO there, that is train2017/, val2017/ and masks/ with one PNG of class ids "
                "an image; --root names another place; `semivl prepare data coco` makes masks/ from annotations/, "
                "with --download it fetches all"
            )
        names = read_ids(_SPLITS / "val.txt") if split == "val" else sorted(path.stem for path in images.glob("*.jpg"))
        for name in names:
            yield Record(id=name, image=images / f"{name}.jpg", label=masks / f"{name}.png")

    def class_ids(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the raw values: class ids, and 255 where nobody knows."""
        return stored_ids(raw)

    def prepare(self, root: Path, sources: Sequence[Path], classes: Classes, download: bool, report: Say) -> None:
        """Unpack archives that the user has, or the publisher's, and turn `instances_*2017.json` into `masks/`."""
        from .masks import write_masks  # noqa: PLC0415 - a list of datasets must not wait for Pillow

        lacking = [split for split in SPLITS if not _has_masks(root, split)]
        archives = (*IMAGES, ANNOTATIONS) if lacking else IMAGES
        known = ("train2017", "val2017", "annotations", "masks")
        steps = f"fetch {', '.join(str(archive.url) for archive in archives)} and pass each with --from"
        obtain(archives, root, sources, download, report, homes=_LAYOUTS, known=known, steps=steps)
        for split in SPLITS:
            file = root / "annotations" / f"instances_{split}2017.json"
            if file.is_file() and not _has_masks(root, split):
                write_masks(file, root / "masks", [color for _, color in classes], report)


def _images(root: Path, split: Split) -> Path | None:
    home = find_home(root, _LAYOUTS, f"{split}2017")
    return None if home is None else home / f"{split}2017"


def _has_masks(root: Path, split: Split) -> bool:
    """Whether every image of a split has its mask."""
    images, masks = _images(root, split), root / "masks"
    if images is None or not masks.is_dir():
        return False
    names = {path.stem for path in images.glob("*.jpg")}
    return bool(names) and names <= {path.stem for path in masks.glob("*.png")}
