"""Pascal VOC 2012 with the augmented training set: 10,582 training and 1,449 validation images of 21 classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import Classes, Record, Say, Split, stored_ids
from semivl_cli.data.ids import read_ids
from semivl_cli.data.obtain import Archive, obtain
from semivl_cli.errors import InputError

ARCHIVES = (
    Archive(
        name="VOCtrainval_11-May-2012.tar",
        url="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        size=1_999_639_040,
        md5="6cd6e144f989b92b3379bac3b3de84fd",
        holds={"JPEGImages/*.jpg": 17_125, "SegmentationClass*/*.png": 2_913},
    ),
)
AUGMENTED = (
    "the masks of the other 9,118 training images (SegmentationClassAug) have no lasting publisher, and only more "
    "than 1,464 labels need them: pass your SegmentationClassAug.zip with --from, or put the folder beside JPEGImages/"
)

_SPLITS = Path(__file__).parent / "splits"
_LAYOUTS = ("", "VOC2012", "VOCdevkit/VOC2012")
_AUGMENTED = ("SegmentationClassAug", "SegmentationClassAug/SegmentationClassAug")
_OFFICIAL = "SegmentationClass"


class VOC:
    """Reads a VOCdevkit, its VOC2012, or a flat folder with `JPEGImages/` and `SegmentationClass[Aug]/`."""

    name = "voc"
    definition = "voc"
    recipe = "recipe.toml"

    def records(self, root: Path, split: Split) -> Iterator[Record]:
        """Yield the protocol's records; without the augmented masks most training images can only be unlabelled."""
        home, folders = _find(root)
        names = [(folder, {path.name for path in folder.iterdir()}) for folder in folders]
        for name in read_ids(_SPLITS / f"{split}.txt"):
            mask = f"{name}.png"
            folder = next((folder for folder, there in names if mask in there), folders[0])
            yield Record(id=name, image=home / "JPEGImages" / f"{name}.jpg", label=folder / mask)

    def class_ids(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the raw values: VOC stores class ids, and 255 on borders."""
        return stored_ids(raw)

    def prepare(self, root: Path, sources: Sequence[Path], classes: Classes, download: bool, report: Say) -> None:
        """Unpack archives that the user has, or the publisher's; the augmented masks have no publisher."""
        known = ("JPEGImages", _AUGMENTED[0], _OFFICIAL)
        obtain(ARCHIVES, root, sources, download, report, homes=_LAYOUTS, known=known, steps=AUGMENTED)
        if download and not any(folder.name == _AUGMENTED[0] for folder in _find(root)[1]):
            report(AUGMENTED)


def _find(root: Path) -> tuple[Path, list[Path]]:
    """Return the folder that holds `JPEGImages/`, and the folders of masks, the augmented ones first."""
    for layout in _LAYOUTS:
        home = root / layout
        around = [home, *(root / above for above in Path(layout).parents)]
        folders = [above / name for name in (*_AUGMENTED[::-1], _OFFICIAL) for above in around]
        masks = [folder for folder in folders if folder.is_dir()]
        if masks and (home / "JPEGImages").is_dir():
            return home, masks
    raise InputError(
        f"{root}: expected Pascal VOC 2012 there, that is JPEGImages/ and SegmentationClassAug/ "
        f"(or SegmentationClass/), directly or in VOCdevkit/VOC2012/; --root names another place, "
        f"`semivl prepare data voc --download` fetches it"
    )
