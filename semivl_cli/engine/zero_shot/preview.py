"""Serves `semivl concepts preview`: what the frozen CLIP makes of images, untrained, and which word wins where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.read.opencv import cv2
from semivl_cli.engine.infer.plan import Job, Plan
from semivl_cli.engine.infer.predict import enough_memory, read_picture, writing_one
from semivl_cli.engine.zero_shot.segmenter import Segmentation, ZeroShotSegmenter
from semivl_cli.errors import InputError
from semivl_cli.reporter import Reporter

SMALLEST = 0.004
"""Share of the image from which a region is worth a name."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """Connected pixels that one text wins."""

    text: int
    """Row of `ZeroShotSegmenter.texts`."""
    share: float
    """Of the image, 0..1."""
    center: tuple[int, int]
    """Row and column of the pixel that lies deepest inside."""


@dataclass(frozen=True, kw_only=True)
class ClassShare:
    """What one class gets of an image; all numbers are shares of its pixels, 0..1."""

    class_id: int
    share: float
    sure: float
    """With a confidence of zeta or more."""
    words: tuple[tuple[str, float], ...]
    """The texts that win its pixels, the strongest first."""


@dataclass(frozen=True, kw_only=True)
class ImagePreview:
    """One image and what CLIP makes of it."""

    image: NDArray[np.uint8]
    """RGB `[H, W, 3]`."""
    segmentation: Segmentation
    regions: tuple[Region, ...]
    """Largest first."""
    shares: tuple[ClassShare, ...]
    """Of the classes that occur, largest first."""


def preview(
    segmenter: ZeroShotSegmenter, plan: Plan, draw: Callable[[Job, ImagePreview], None], reporter: Reporter
) -> Iterator[tuple[Path, ImagePreview | InputError]]:
    """Segment images one by one, and have each drawn; of one with which that cannot be done comes the error."""
    reporter.start("preview", len(plan))
    for path, error in plan.unreadable:
        yield path, InputError(error)
    for done, job in enumerate(plan.jobs, len(plan.unreadable) + 1):
        try:
            image = read_picture(segmenter, job.image).pixels
            with enough_memory(job.image):
                found = segmenter.segment(image)
                regions, shares = find_regions(found.texts), class_shares(segmenter, found)
                made = ImagePreview(image=image, segmentation=found, regions=regions, shares=shares)
                with writing_one(job.mask):
                    draw(job, made)
        except InputError as error:
            yield job.image, error
        else:
            yield job.image, made
        reporter.advance("preview", done, {})
    reporter.finish("preview")


def class_shares(segmenter: ZeroShotSegmenter, found: Segmentation) -> tuple[ClassShare, ...]:
    """Count the pixels of each class that occurs, and of each text that wins them."""
    pixels, shares = found.ids.size, []
    for class_id in np.unique(found.ids).tolist():
        own = found.ids == class_id
        rows, counts = np.unique(found.texts[own], return_counts=True)
        ranked = sorted(zip(counts.tolist(), rows.tolist(), strict=True), reverse=True)
        shares.append(
            ClassShare(
                class_id=class_id,
                share=float(own.sum()) / pixels,
                sure=float((own & (found.confidence >= segmenter.config.guidance.zeta)).sum()) / pixels,
                words=tuple((segmenter.texts[row], count / pixels) for count, row in ranked),
            )
        )
    return tuple(sorted(shares, key=lambda one: -one.share))


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
