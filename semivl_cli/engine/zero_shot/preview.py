"""What the frozen CLIP sees for a definition before any training, image by image, with the regions that words win."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.read.images import read_image
from semivl_cli.data.read.opencv import cv2
from semivl_cli.engine.zero_shot.segmenter import FrozenClip, Seen
from semivl_cli.errors import InputError
from semivl_cli.reporter import Reporter

SMALLEST = 0.004
"""Share of the image from which a region is worth a name."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """Connected pixels that one text wins."""

    text: int
    """Row of `FrozenClip.texts`."""
    share: float
    """Of the image, 0..1."""
    center: tuple[int, int]
    """Row and column of the pixel that lies deepest inside."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one class gets of an image; all numbers are shares of its pixels, 0..1."""

    class_id: int
    share: float
    sure: float
    """With a confidence of zeta or more."""
    words: tuple[tuple[str, float], ...]
    """The texts that win its pixels, the strongest first."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One image and what CLIP makes of it."""

    path: Path
    image: NDArray[np.uint8]
    """RGB `[H, W, 3]`."""
    seen: Seen
    regions: tuple[Region, ...]
    """Largest first."""
    shares: tuple[Share, ...]
    """Of the classes that occur, largest first."""


def look_at(frozen: FrozenClip, images: Iterable[Path], reporter: Reporter) -> Iterator[Look | tuple[Path, str]]:
    """Look at images one by one; of one that cannot be read comes its path and why."""
    paths = list(images)
    reporter.start("preview", len(paths))
    for done, path in enumerate(paths, 1):
        try:
            image = read_image(path)
        except InputError as error:
            yield path, str(error)
        else:
            seen = frozen.look(image)
            regions, shares = find_regions(seen.texts), share_out(frozen, seen)
            yield Look(path=path, image=image, seen=seen, regions=regions, shares=shares)
        reporter.advance("preview", done, {})
    reporter.finish("preview")


def share_out(frozen: FrozenClip, seen: Seen) -> tuple[Share, ...]:
    """Count the pixels of each class that occurs, and of each text that wins them."""
    pixels, found = seen.ids.size, []
    for class_id in np.unique(seen.ids).tolist():
        own = seen.ids == class_id
        rows, counts = np.unique(seen.texts[own], return_counts=True)
        ranked = sorted(zip(counts.tolist(), rows.tolist(), strict=True), reverse=True)
        found.append(
            Share(
                class_id=class_id,
                share=float(own.sum()) / pixels,
                sure=float((own & (seen.confidence >= frozen.zeta)).sum()) / pixels,
                words=tuple((frozen.texts[row], count / pixels) for count, row in ranked),
            )
        )
    return tuple(sorted(found, key=lambda one: -one.share))


def find_regions(texts: NDArray[np.intp]) -> tuple[Region, ...]:
    """List connected regions of one text each in a map `[H, W]` of winning texts, the largest first."""
    found = []
    for text in np.unique(texts):
        count, labels, facts, _ = cv2.connectedComponentsWithStats((texts == text).astype(np.uint8), connectivity=4)
        for label in range(1, count):
            share = float(facts[label, cv2.CC_STAT_AREA]) / texts.size
            if share >= SMALLEST:
                found.append(Region(text=int(text), share=share, center=_deepest(labels == label)))
    return tuple(sorted(found, key=lambda region: -region.share))


def _deepest(inside: NDArray[np.bool_]) -> tuple[int, int]:
    """Row and column of the pixel farthest from the border of a region `[H, W]`; the image's edge is a border too."""
    depth = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, 5)
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return int(row) - 1, int(column) - 1
