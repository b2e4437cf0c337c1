"""Serves `semivl predict`: pictures of any size and format in, mask PNGs and overlays out."""

from __future__ import annotations

import errno
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.choose.faint import too_faint
from semivl_cli.data.read.frames import count_frames
from semivl_cli.data.read.images import Shown, image_size, read_shown
from semivl_cli.engine.device_memory import free_memory, is_out_of_memory
from semivl_cli.engine.infer.plan import Job, Plan
from semivl_cli.engine.infer.segmenter import Segmenter
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import FULL
from semivl_cli.palette import overlay, save_image, save_mask
from semivl_cli.reporter import Reporter

_AHEAD = 4
_LARGE = 64_000_000
"""Pixels that are held of pictures ahead and behind; a larger one goes its way alone."""
_MUCH = 2**28
"""Bytes from which it is asked whether so many are free."""
_JPEG_SIDE = 65_500
"""Pixels of the longest side that a JPEG can have."""

A = TypeVar("A")
B = TypeVar("B")
Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What became of one input."""

    image: Path
    mask: Path | None = None
    overlay: Path | None = None
    shares: dict[str, float]
    """Share of the pixels of each class that occurs, 0..1."""
    error: str | None = None
    """Why there is no mask, or no overlay."""

    @staticmethod
    def failed(image: Path, error: object) -> Prediction:
        """Return what became of an input of which nothing is left but a line."""
        return Prediction(image=image, shares={}, error=str(error))


@dataclass(frozen=True)
class _Segmented:
    job: Job
    image: Picture
    ids: Picture


def predict(segmenter: Segmenter, plan: Plan, *, overlays: bool, reporter: Reporter) -> Iterator[Prediction]:
    """Write one palette PNG per picture, of the picture's shown size; what cannot be done with one costs none else.

    `overlays`: the classes are also painted over each picture.

    Raises:
        RunError: nothing more can be written: the disk is full, or gone.
    """
    reporter.start("predict", len(plan))
    began = time.monotonic()
    for done, failure in enumerate(plan.unreadable, 1):
        yield Prediction.failed(failure.image, failure.error)
        reporter.advance("predict", done, {})
    with ThreadPoolExecutor(_AHEAD) as pool:  # pictures are decoded ahead, masks are encoded behind
        faint: list[Path] = []
        several: dict[Path, int] = {}  # pictures of several frames -> how many
        read = _in_order(pool, lambda job: _read(segmenter, job, several), plan.jobs, weigh=_pixels)
        segmented = (_segment(segmenter, job, image) for job, image in _without_faintness(read, faint))
        written = _in_order(pool, lambda found: _write(segmenter, found, overlays), segmented, weigh=_held)
        for done, prediction in enumerate(written, 1):
            yield prediction
            speed = {"images_per_second": done / max(time.monotonic() - began, 1e-9)}
            reporter.advance("predict", len(plan.unreadable) + done, speed)
    if several:
        first = min(several)
        reporter.note(
            f"note: {len(several)} of {len(plan.jobs)} files hold several pictures, such as {first} "
            f"({several[first]}): the first of each was segmented; save the others as files of their own"
        )
    if faint:
        reporter.note(too_faint(len(faint), len(plan.jobs), str(faint[0])))
    reporter.finish("predict")


def _in_order(pool: Executor, work: Callable[[A], B], items: Iterable[A], *, weigh: Callable[[A], int]) -> Iterator[B]:
    """Yield what becomes of each item, while the pool works on a few that follow, of no more than `_LARGE` together."""
    waiting: deque[tuple[Future[B], int]] = deque()
    held = 0
    for item in items:
        weight = weigh(item)
        while waiting and (len(waiting) > _AHEAD or held + weight > _LARGE):
            future, gone = waiting.popleft()
            held -= gone
            yield future.result()
        waiting.append((pool.submit(work, item), weight))
        held += weight
        if held > _LARGE:  # it is alone, and stays so
            held -= waiting[0][1]
            yield waiting.popleft()[0].result()
    while waiting:
        yield waiting.popleft()[0].result()


def _pixels(job: Job) -> int:
    with suppress(InputError, MemoryError):  # said when it is read
        height, width = image_size(job.image)
        return height * width
    return 0


def _held(found: _Segmented | Prediction) -> int:
    return 0 if isinstance(found, Prediction) else int(found.ids.size)


def _read(segmenter: Segmenter, job: Job, several: dict[Path, int]) -> tuple[Job, Shown | InputError]:
    try:
        shown = read_picture(segmenter, job.image)
    except InputError as error:
        return job, error
    if (frames := count_frames(job.image)) > 1:
        several[job.image] = frames
    return job, shown


def _without_faintness(
    read: Iterable[tuple[Job, Shown | InputError]], faint: list[Path]
) -> Iterator[tuple[Job, Picture | InputError]]:
    """Yield the pixels alone, and remember which pictures use little of the range of their numbers."""
    for job, shown in read:
        if not isinstance(shown, InputError) and shown.faint:
            faint.append(job.image)
        yield job, shown if isinstance(shown, InputError) else shown.pixels


def read_picture(segmenter: Segmenter, path: Path) -> Shown:
    """Read a picture for which there is enough memory, uint8 RGB `[H, W, 3]`; raises `InputError`."""
    with enough_memory(path):
        height, width = image_size(path)
        needed = segmenter.memory((height, width))
        if needed > _MUCH and (free := free_memory()) is not None and needed > free:
            raise InputError(
                f"{path}: {width} x {height} pixels (width x height) take {needed / 2**30:.1f} GiB of memory, "
                f"{free / 2**30:.1f} are free: cut it into tiles, or close other programs"
            )
        return read_shown(path, segmenter.config.data.value_range)


def _segment(segmenter: Segmenter, job: Job, image: Picture | InputError) -> _Segmented | Prediction:
    if isinstance(image, InputError):
        return Prediction.failed(job.image, image)
    try:
        with enough_memory(job.image):
            return _Segmented(job, image, segmenter.classes_of(image))
    except InputError as error:
        return Prediction.failed(job.image, error)


def _write(segmenter: Segmenter, found: _Segmented | Prediction, overlays: bool) -> Prediction:
    if isinstance(found, Prediction):
        return found
    (image, mask, painted), ids = found.job, found.ids
    made = Prediction(image=image, shares={})
    try:
        with enough_memory(image):
            with writing_one(mask):
                save_mask(mask, ids, segmenter.colors)
            counts = np.bincount(ids.ravel(), minlength=len(segmenter.names)) / ids.size
            shares = {name: float(share) for name, share in zip(segmenter.names, counts, strict=True) if share > 0}
            made = replace(made, mask=mask, shares=shares)
            if overlays:
                with writing_one(painted):
                    save_image(painted, _paint(segmenter, found), ours=True)
                made = replace(made, overlay=painted)
    except InputError as error:
        return replace(made, error=str(error))
    return made


def _paint(segmenter: Segmenter, found: _Segmented) -> Picture:
    """Paint the classes over a picture, which every so many pixels stand for where a JPEG could not hold all."""
    step = -(-max(found.ids.shape) // _JPEG_SIDE)
    return overlay(found.image[::step, ::step], found.ids[::step, ::step], segmenter.colors)


@contextmanager
def enough_memory(image: Path) -> Iterator[None]:
    """Turn a lack of memory into an `InputError` about the picture, which costs none else."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # numpy, torch and OpenCV each raise their own
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # or they would hold what was taken so far
        raise InputError(
            f"{image}: there is not enough memory for it: close other programs, or cut it into tiles"
        ) from error


@contextmanager
def writing_one(path: Path) -> Iterator[None]:
    """Make the folder of a file, and turn what hinders it from being written into a line about it, or into the end.

    Raises:
        InputError: such as a name that is too long for the disk.
        RunError: the disk is full, gone, or may not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}"
        if error.errno in (*FULL, errno.EROFS, errno.EIO):
            raise RunError(f"{message}; the masks before it are kept") from error
        raise InputError(message) from error
