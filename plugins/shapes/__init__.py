"""The embedded demo: a small world of shapes, drawn while it is read, in which the method can be seen to work."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import SPLITS, Classes, Record, Say, Split
from semivl_cli.errors import InputError

DEVELOPMENT_SEED = 4711

SIZES: dict[Split, int] = {"train": 200, "val": 120}


class Shapes:
    """200 training and 120 validation scenes of 96 x 96 pixels in six classes; no file is needed."""

    name = "shapes"
    definition = "shapes"
    recipe = "recipe.toml"
    seeds: ClassVar[dict[Split, int]] = {"train": 1, "val": 2}
    """The worlds of the two splits: the tiny CLIP has seen neither, and nothing was chosen on them."""

    def records(self, root: Path, split: Split) -> Iterator[Record]:
        """Yield the scenes of `split`, all with a label; `root` is not looked at."""
        seed = self.seeds[split]
        for index in range(SIZES[split]):
            image, label = partial(render, "image", seed, index), partial(render, "label", seed, index)
            yield Record(id=f"{split}-{index:04d}", image=image, label=label)

    def class_ids(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Return `raw` `[H, W]`: labels are drawn as class ids."""
        return np.asarray(raw, np.uint8)

    def prepare(self, root: Path, sources: Sequence[Path], classes: Classes, download: bool, report: Say) -> None:
        """Write all scenes as a folder dataset: `images/`, `masks/` in the classes' colours and the two lists."""
        from PIL import Image  # noqa: PLC0415 - a list of datasets must not wait for Pillow

        from semivl_cli.palette import save_mask  # noqa: PLC0415 - as above

        if sources or download:
            raise InputError(f"{self.name} draws its scenes itself: it takes no files and downloads nothing")
        lists = {split: [f"{split}-{index:04d}" for index in range(SIZES[split])] for split in SPLITS}
        _check_free(root, lists)
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        colors = [color for _, color in classes]
        for split, names in lists.items():  # the lists first: by them a repetition knows what it may overwrite
            (root / f"{split}.txt").write_text(_lines(names), encoding="utf-8")
        for split, names in lists.items():
            for index, name in enumerate(names):
                Image.fromarray(render("image", self.seeds[split], index)).save(root / "images" / f"{name}.png")
                mask = root / "masks" / f"{name}.png"
                save_mask(mask, render("label", self.seeds[split], index), colors, ours=False)
        there = shlex.quote(str(root))
        report(f"{sum(SIZES.values())} scenes written to {root}: train on them with --dataset folder --root {there}")


def _check_free(root: Path, lists: Mapping[Split, Sequence[str]]) -> None:
    """Refuse a folder with images, masks or lists that are not of these scenes."""
    there = {path: names for split, names in lists.items() if os.path.lexists(path := root / f"{split}.txt")}
    strangers = [
        path for path, names in there.items() if not path.is_file() or path.read_bytes() != _lines(names).encode()
    ]
    if not there:
        strangers = [root / folder for folder in ("images", "masks") if os.path.lexists(root / folder)]
    if strangers:
        raise InputError(f"{strangers[0]} is there already, and not of these scenes: give another --root")


def _lines(names: Sequence[str]) -> str:
    return "\n".join(names) + "\n"


class Development(Shapes):
    """Other scenes of the same world, on which settings and the tiny CLIP were chosen: `--dataset shapes-dev`."""

    name = "shapes-dev"
    seeds: ClassVar[dict[Split, int]] = {"train": 3, "val": DEVELOPMENT_SEED}


def render(part: Literal["image", "label"], seed: int, index: int) -> NDArray[np.uint8]:
    """Draw the picture of a scene, RGB `[96, 96, 3]`, or its class ids `[96, 96]`."""
    from .scenes import scene  # noqa: PLC0415 - a list of datasets must not wait for cv2

    drawn = scene(seed, index)
    return drawn.image if part == "image" else drawn.label
