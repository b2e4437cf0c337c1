"""Serves `semivl predict`: pictures of any size and format in, mask PNGs and overlays out."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.read.images import read_image
from semivl_cli.engine.infer.segmenter import Segmenter
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import list_images
from semivl_cli.palette import is_ours, overlay, save_image, save_mask
from semivl_cli.reporter import Reporter

_AHEAD = 4

A = TypeVar("A")
B = TypeVar("B")
Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What became of one input."""

    image: Path
    mask: Path | None
    shares: dict[str, float]
    """Share of the pixels of each class that occurs, 0..1."""
    error: str | None = None


class Job(NamedTuple):
    """One picture to segment."""

    image: Path
    mask: Path


def predict(segmenter: Segmenter, jobs: Sequence[Job], *, overlays: bool, reporter: Reporter) -> Iterator[Prediction]:
    """Write one palette PNG per picture, of the picture's shown size; a picture that cannot be read costs none else.

    `overlays`: `<stem>_overlay.jpg` is written beside each mask.

    Raises:
        RunError: a mask cannot be written.
    """
    reporter.start("predict", len(jobs))
    began = time.monotonic()
    with ThreadPoolExecutor(_AHEAD) as pool:  # pictures are decoded ahead, masks are encoded behind
        segmented = (
            (job, image, None if isinstance(image, InputError) else segmenter.predict(image))
            for job, image in _in_order(pool, _read, jobs)
        )
        written = _in_order(pool, lambda found: _write(segmenter, *found, overlays), segmented)
        for done, prediction in enumerate(written, 1):
            yield prediction
            reporter.advance("predict", done, {"images_per_second": done / max(time.monotonic() - began, 1e-9)})
    reporter.finish("predict")


def _in_order(pool: Executor, work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Yield what becomes of each item, while the pool works on a few that follow."""
    waiting: deque[Future[B]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read(job: Job) -> tuple[Job, Picture | InputError]:
    try:
        return job, read_image(job.image)
    except InputError as error:
        return job, error


def _write(
    segmenter: Segmenter, job: Job, image: Picture | InputError, ids: Picture | None, overlays: bool
) -> Prediction:
    if isinstance(image, InputError) or ids is None:
        return Prediction(image=job.image, mask=None, shares={}, error=str(image))
    try:
        job.mask.parent.mkdir(parents=True, exist_ok=True)
        save_mask(job.mask, ids, segmenter.colors)
        if overlays:
            save_image(job.mask.with_name(f"{job.mask.stem}_overlay.jpg"), overlay(image, ids, segmenter.colors))
    except OSError as error:
        raise RunError(f"cannot write {job.mask}: {error.strerror or error}; the masks before it are kept") from error
    counts = np.bincount(ids.ravel(), minlength=len(segmenter.names)) / ids.size
    shares = {name: float(share) for name, share in zip(segmenter.names, counts, strict=True) if share > 0}
    return Prediction(image=job.image, mask=job.mask, shares=shares)


def plan_predictions(inputs: Sequence[Path], out: Path) -> list[Job]:
    """List what to read and where to write it, before any model is loaded.

    `inputs`: files, or folders that are searched to any depth. The masks are
    `<out>/<path relative to the input folder>/<stem>.png`; where inputs share a stem, their names keep the suffix.

    Raises:
        InputError: an input does not exist or holds no image, or a mask would overwrite what semivl did not write.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file: expected a folder for the masks")
    found: list[tuple[Path, Path]] = []  # file, path relative to its input folder
    for given in inputs:
        if given.is_dir():
            if given.resolve() == out.resolve():
                raise InputError(f"--out {out} is the input folder itself: give the masks a folder of their own")
            images = sorted(path for path in list_images(given) if path.is_file())
            inside = [path for path in images if out.resolve() not in path.resolve().parents]
            if not inside:
                raise InputError(f"{given} holds no image: expected files such as .jpg, .png, .tif at any depth")
            found += [(path, path.relative_to(given)) for path in inside]
        elif given.exists():
            found.append((given, Path(given.name)))
        else:
            raise InputError(f"{given} does not exist: expected image files or folders of them")
    found = list(dict.fromkeys(found))
    stems = Counter(relative.with_suffix("") for _, relative in found)
    jobs = []
    for path, relative in found:
        name = relative.stem if stems[relative.with_suffix("")] == 1 else relative.name
        jobs.append(Job(path, out / relative.parent / f"{name}.png"))
    if twice := [mask for mask, count in Counter(job.mask for job in jobs).items() if count > 1]:
        raise InputError(f"two inputs would both become {twice[0]}: predict them into different folders")
    for job in jobs:
        if job.mask.exists() and not is_ours(job.mask):
            raise InputError(f"{job.mask} exists and was not written by semivl: it may be a label; give another --out")
    return jobs
