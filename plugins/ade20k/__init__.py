"""ADE20K (scene parsing, 150 classes): 20,210 training and 2,000 validation images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import IGNORE, NO_CLASS, Classes, Record, Say, Split
from semivl_cli.data.ids import read_ids
from semivl_cli.data.obtain import Archive, find_home, obtain
from semivl_cli.errors import InputError

ARCHIVES = (
    Archive(
        name="ADEChallengeData2016.zip",
        url="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
        md5="7328b3957e407ddae1d3cbf487f149ef",
        holds={
            f"{kind}/{split}/*.{suffix}": count
            for kind, suffix in (("images", "jpg"), ("annotations", "png"))
            for split, count in (("training", 20_210), ("validation", 2_000))
        },
    ),
)

_SPLITS = Path(__file__).parent / "splits"
_LAYOUTS = ("", "ADEChallengeData2016")


class ADE20K:
    """Reads `{images,annotations}/{training,validation}/`, directly or in `ADEChallengeData2016/`."""

    name = "ade20k"
    definition = "ade20k"
    recipe = "recipe.toml"

    def records(self, root: Path, split: Split) -> Iterator[Record]:
        """Yield the protocol's records."""
        folder = "training" if split == "train" else "validation"
        images, masks = f"images/{folder}", f"annotations/{folder}"
        home = find_home(root, _LAYOUTS, images, masks)
        if home is None:
            raise InputError(
                f"{root}: expected ADE20K (ADEChallengeData2016) there, that is {images}/ and {masks}/; "
                "--root names another place, `semivl prepare data ade20k --download` fetches it"
            )
        train = (f"ADE_train_{number:08d}" for number in range(1, 20_211))
        for name in train if split == "train" else read_ids(_SPLITS / "val.txt"):
            yield Record(id=name, image=home / images / f"{name}.jpg", label=home / masks / f"{name}.png")

    def class_ids(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Shift the raw values: 0 is "other" and ignored, 1..150 become the classes 0..149; others are no class."""
        ids = np.where(raw > 150, NO_CLASS, raw.astype(np.int64) - 1)
        ids[(raw == 0) | (raw == IGNORE)] = IGNORE
        return ids.astype(np.uint8)

    def prepare(self, root: Path, sources: Sequence[Path], classes: Classes, download: bool, report: Say) -> None:
        """Unpack the archive that the user has, or the publisher's."""
        steps = f"fetch {ARCHIVES[0].url} and pass it with --from"
        known = ("annotations", "images")
        obtain(ARCHIVES, root, sources, download, report, homes=_LAYOUTS, known=known, steps=steps)
