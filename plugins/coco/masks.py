"""COCO's instance annotations -> one mask of 81 classes an image: parallel, and resumable, since masks there stay."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path

from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.contract import Say
from semivl_cli.data.fetch.progress_lines import Pace
from semivl_cli.data.formats.coco import CocoAnnotation, paint_segmentation
from semivl_cli.documents import parse_json
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import FULL
from semivl_cli.palette import Color, save_mask
from semivl_cli.processes import end_with_parent, usable_cores

from .instances import Instances

BATCH = 64
"""Images that a process is handed at once."""

_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
CLASS_OF = {category: class_id for class_id, category in enumerate(sorted(set(range(1, 91)) - _UNUSED), 1)}
"""Category id of COCO -> class id 1..80; 0 is the background."""

_Task = tuple[str, tuple[int, int], list[str]]  # stem, (H, W), annotations as JSON


class Annotation(CocoAnnotation):
    """An annotation of the published files."""

    iscrowd: int = 0
    area: float = 0


def write_masks(file: Path, folder: Path, colors: Sequence[Color], report: Say) -> None:
    """Write `folder/<stem>.png` for every image of an instance file that has none there yet.

    Raises:
        InputError: the file or one of its annotations is broken; masks that are written stay.
        RunError: the disk is full; masks that are written stay.
    """
    report(f"reading {file}")
    instances = Instances(file)
    there = {path.stem for path in folder.glob("*.png")}
    lacking = [number for number, (stem, _) in enumerate(instances.images) if stem not in there]
    tasks = ((*instances.images[number], instances.annotations(number)) for number in lacking)
    pace, done = Pace(report, f"masks of {file.name}"), 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for count in _write_all(tasks, len(lacking), folder, colors):
            done += count
            pace.step(done, len(lacking))
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    except OSError as error:
        if error.errno in FULL:
            raise RunError(f"{folder}: the disk is full; the masks that are written stay") from error
        raise InputError(f"{folder}: cannot be written ({error})") from error
    report(f"{done} masks of {file.name} written to {folder}, {len(instances.images) - len(lacking)} were there")


def _write_all(tasks: Iterator[_Task], count: int, folder: Path, colors: Sequence[Color]) -> Iterator[int]:
    """Write masks in as many processes as there are processors and batches; yields how many more are done."""
    workers = min(usable_cores(), 61)  # Windows waits for no more
    batches = iter(lambda: list(islice(tasks, BATCH)), [])
    if min(workers, count // BATCH) < 2:  # starting processes would take longer than the work
        for batch in batches:
            yield _write_batch(batch, folder, colors)
        return
    context = multiprocessing.get_context("spawn")  # what calls this may have threads
    pool = ProcessPoolExecutor(min(workers, count // BATCH), context, _live_with_parent)
    try:
        waiting: set[Future[int]] = set()
        for batch in batches:
            waiting.add(pool.submit(_write_batch, batch, folder, colors))
            if len(waiting) > 2 * workers:  # so that the annotations of all images are never under way
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        yield from (future.result() for future in waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _write_batch(batch: Sequence[_Task], folder: Path, colors: Sequence[Color]) -> int:
    for stem, size, texts in batch:
        annotations = [parse_json(text, Annotation, f"image {stem}: annotation") for text in texts]
        canvas = paint_annotations(annotations, size, f"image {stem}")
        save_mask(folder / f"{stem}.png", canvas.ids, colors, ours=False)
    return len(batch)


def paint_annotations(annotations: Sequence[Annotation], size: tuple[int, int], origin: str) -> Canvas:
    """Paint the annotations of one image, each over those before: crowds first, then from large to small.

    So where annotations overlap, the one with the smaller `area` wins (a cup on a table), and of two equal ones the
    later; a crowd (`iscrowd`) gives way to every single object.

    Raises:
        InputError: if a category is none of COCO's, or a segmentation is broken; names the annotation.
    """
    canvas = Canvas(size, 0)
    for annotation in sorted(annotations, key=lambda one: (not one.iscrowd, -(one.area or 0))):
        if annotation.category_id not in CLASS_OF:
            raise InputError(
                f"{origin}: {annotation.called} has the category {annotation.category_id!r}, none of COCO's"
            )
        class_id = CLASS_OF[annotation.category_id]
        paint_segmentation(canvas, annotation, class_id, origin, keep_thin=False)
    return canvas


def _live_with_parent() -> None:
    """Leave Ctrl-C to the parent, and end where the parent was killed and can send no more work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
