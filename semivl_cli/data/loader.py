"""Makes batches: which image comes when, and every draw, follow from seed, step, position and view alone.

No global generator is touched, so neither the number of workers or processes nor an interruption can change a run.
"""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from semivl_cli.data.augment import ColorDraw, ColorSettings, draw_color
from semivl_cli.data.contract import Dataset, Record
from semivl_cli.data.cutmix import CutMixSettings, draw_box
from semivl_cli.data.images import read_image, read_pair
from semivl_cli.data.index import Index
from semivl_cli.data.shuffle import shuffled
from semivl_cli.data.views import View, at_short_side, draw_view, view_ignore, view_image, view_label
from semivl_cli.errors import InputError, RunError, SemiVLError

Workers = int | Literal["auto"]
_MOST_WORKERS = 8
_SMALL_PIXELS = 256 * 256
_STRONG_VIEWS = (0, 1)

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewSettings:
    """How views are drawn; the defaults are the published ones."""

    crop: int
    """Side of the square that the model sees, in pixels."""
    base_scale: tuple[int, int] | None = None
    """Long and short side to which images are fitted before the random factor; `None`: their own size."""
    scale_range: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    """Probability of a horizontal flip."""
    color: ColorSettings = field(default_factory=ColorSettings)
    cutmix: CutMixSettings = field(default_factory=CutMixSettings)
    partner: Literal["same_image", "pair"] = "same_image"
    """What CutMix pastes from: another crop of the same image (published), or another image of the batch (paper)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """One step's images: geometry done, colours drawn but not yet applied."""

    step: int
    x_image: Tensor
    """Labelled images, uint8 `[B, 3, H, W]`."""
    x_label: Tensor
    """Their class ids, uint8 `[B, H, W]`, 255 is ignored."""
    u_image: Tensor | None
    """Weak views of the unlabelled images, uint8 `[B, 3, H, W]`; `None` where nothing unlabelled is needed."""
    u_ignore: Tensor | None
    """uint8 `[B, H, W]`: 255 on padding, else 0."""
    partner_image: Tensor | None
    """A second crop of each unlabelled image; `None` where another image of the batch is the partner."""
    partner_ignore: Tensor | None
    colors: tuple[tuple[ColorDraw, ...], ...] | None
    """B draws for each of the two strong views."""
    partner_colors: tuple[tuple[ColorDraw, ...], ...] | None
    boxes: Tensor | None
    """CutMix boxes of the two strong views, int64 `[2, B, 4]`."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`; from pinned memory the copy does not wait."""
        return self._each_tensor(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory."""
        return self._each_tensor(lambda tensor: tensor.pin_memory())

    def _each_tensor(self, change: Callable[[Tensor], Tensor]) -> Batch:
        def changed(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else change(tensor)

        return replace(
            self,
            x_image=change(self.x_image),
            x_label=change(self.x_label),
            u_image=changed(self.u_image),
            u_ignore=changed(self.u_ignore),
            partner_image=changed(self.partner_image),
            partner_ignore=changed(self.partner_ignore),
            boxes=changed(self.boxes),
        )


def train_batches(
    index: Index,
    dataset: Dataset,
    class_names: Sequence[str],
    settings: ViewSettings,
    *,
    batch: int,
    seed: int,
    start_step: int,
    stop_step: int,
    workers: Workers,
    pin: bool,
    positions: slice | None = None,
    sharing: int = 1,
    need_unlabeled: bool = True,
) -> Generator[Batch, None, None]:
    """Yield the batches of the steps `start_step..stop_step`; closing the generator ends its workers.

    Labelled and unlabelled images are each an endless stream of seeded permutations, so that a set smaller than a
    batch repeats within it.

    Args:
        index: which images there are.
        dataset: the plugin, which reads labels.
        class_names: of the definition.
        settings: how views are drawn.
        batch: labelled images of a step in all processes together, and as many unlabelled ones.
        seed: of every draw.
        start_step: the first step.
        stop_step: the step after the last.
        workers: processes that read images; 0: this one; `"auto"`: by the number of cores.
        pin: whether batches come in page-locked memory.
        positions: this process's share of the batch; `None`: all of it.
        sharing: processes that share the cores which this one may use.
        need_unlabeled: whether unlabelled images are read at all.

    Raises:
        InputError: if a file cannot be read, or there is no unlabelled image.
        RunError: if a worker process died.
    """
    if need_unlabeled and not index.unlabeled:
        raise InputError(
            "no image is unlabelled, so there is nothing to learn from but labels: "
            "label fewer with --labels, or add images without masks"
        )
    share = range(batch)[positions if positions is not None else slice(None)]
    steps = _Steps(index, dataset, tuple(class_names), settings, batch, seed, share, need_unlabeled)
    count = _worker_count(workers, index.labeled[0], sharing)
    return _read(steps, range(start_step, stop_step), count, pin)


def val_samples(
    records: Sequence[Record],
    dataset: Dataset,
    class_names: Sequence[str],
    *,
    short_side: int | None,
    workers: Workers,
    sharing: int = 1,
) -> Generator[tuple[Record, NDArray[np.uint8], NDArray[np.uint8]], None, None]:
    """Yield record, image uint8 `[H, W, 3]` and label uint8 `[H0, W0]` of validation images, in order.

    With `short_side` the image is scaled so that its short side has that many pixels; the label keeps its size.

    Raises:
        InputError: if a file cannot be read.
        RunError: if a worker process died.
    """
    samples = _Samples(tuple(records), dataset, tuple(class_names), short_side)
    count = _worker_count(workers, records[0], sharing) if records else 0  # the share of a process may be empty
    return _read(samples, range(len(records)), count, pin=False)


class _Draw(IntEnum):
    """What is drawn: part of the seed of each generator."""

    LABELED_ORDER = 0
    UNLABELED_ORDER = 1
    LABELED_VIEW = 2
    UNLABELED_VIEW = 3
    PARTNER_VIEW = 4
    COLOR = 5
    PARTNER_COLOR = 6
    BOX = 7


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


@dataclass(frozen=True, slots=True)
class _Steps:
    """The batches of all steps, each made when it is asked for."""

    index: Index
    dataset: Dataset
    class_names: tuple[str, ...]
    settings: ViewSettings
    batch: int
    seed: int
    share: range
    need_unlabeled: bool

    def __getitem__(self, step: int) -> Batch:
        x_image, x_label = zip(*(self._labeled(step, position) for position in self.share), strict=True)
        empty = Batch(
            step=step,
            x_image=_images(x_image),
            x_label=torch.from_numpy(np.stack(x_label)),
            u_image=None,
            u_ignore=None,
            partner_image=None,
            partner_ignore=None,
            colors=None,
            partner_colors=None,
            boxes=None,
        )
        return self._with_unlabeled(empty) if self.need_unlabeled else empty

    def _with_unlabeled(self, batch: Batch) -> Batch:
        step, twice = batch.step, self.settings.partner == "same_image"
        crops = [self._unlabeled(step, position, twice) for position in self.share]  # per image: one or two crops
        weak, *partner = zip(*crops, strict=True)
        boxes = [[self._box(step, position, view) for position in self.share] for view in _STRONG_VIEWS]
        batch = replace(
            batch,
            u_image=_images([image for image, _ in weak]),
            u_ignore=torch.from_numpy(np.stack([ignore for _, ignore in weak])),
            colors=self._colors(_Draw.COLOR, step),
            boxes=torch.tensor(boxes, dtype=torch.int64),
        )
        if not twice:
            return batch
        return replace(
            batch,
            partner_image=_images([image for image, _ in partner[0]]),
            partner_ignore=torch.from_numpy(np.stack([ignore for _, ignore in partner[0]])),
            partner_colors=self._colors(_Draw.PARTNER_COLOR, step),
        )

    def _labeled(self, step: int, position: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        record = self._element(self.index.labeled, _Draw.LABELED_ORDER, step, position)
        image, label = read_pair(record, self.dataset, self.class_names)
        view = self._view(image, _Draw.LABELED_VIEW, step, position)
        return view_image(image, view), view_label(label, view)

    def _unlabeled(self, step: int, position: int, twice: bool) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Read one image and cut one or two crops and their ignore masks from it."""
        image = read_image(self._element(self.index.unlabeled, _Draw.UNLABELED_ORDER, step, position).image)
        draws = (_Draw.UNLABELED_VIEW, _Draw.PARTNER_VIEW) if twice else (_Draw.UNLABELED_VIEW,)
        views = [self._view(image, draw, step, position) for draw in draws]
        return [(view_image(image, view), view_ignore(view)) for view in views]

    def _element(self, records: Sequence[Record], order: _Draw, step: int, position: int) -> Record:
        number, place = divmod(step * self.batch + position, len(records))
        return records[shuffled(place, len(records), (self.seed, order, number))]

    def _view(self, image: NDArray[np.uint8], draw: _Draw, step: int, position: int) -> View:
        settings = self.settings
        height, width = image.shape[:2]
        return draw_view(
            _generator(self.seed, draw, step, position),
            (height, width),
            crop=settings.crop,
            base_scale=settings.base_scale,
            scale_range=settings.scale_range,
            flip=settings.flip,
        )

    def _colors(self, draw: _Draw, step: int) -> tuple[tuple[ColorDraw, ...], ...]:
        return tuple(
            tuple(
                draw_color(_generator(self.seed, draw, step, position, view), self.settings.color)
                for position in self.share
            )
            for view in _STRONG_VIEWS
        )

    def _box(self, step: int, position: int, view: int) -> tuple[int, int, int, int]:
        rng = _generator(self.seed, _Draw.BOX, step, position, view)
        return draw_box(rng, self.settings.crop, self.settings.crop, self.settings.cutmix)


@dataclass(frozen=True, slots=True)
class _Samples:
    """The validation images with their labels, each read when it is asked for."""

    records: tuple[Record, ...]
    dataset: Dataset
    class_names: tuple[str, ...]
    short_side: int | None

    def __getitem__(self, place: int) -> tuple[Record, NDArray[np.uint8], NDArray[np.uint8]]:
        record = self.records[place]
        image, label = read_pair(record, self.dataset, self.class_names)
        return record, at_short_side(image, self.short_side), label


class _Items(Protocol[Item_co]):
    """What `_read` reads: `_Steps` or `_Samples`."""

    def __getitem__(self, place: int, /) -> Item_co: ...


@dataclass(frozen=True, slots=True)
class _Caught(Generic[Item]):
    """Hands the user's mistakes over as values: raised in a worker, they would come back wrapped in its traceback."""

    items: _Items[Item]

    def __getitem__(self, place: int) -> Item | SemiVLError:
        try:
            return self.items[place]
        except SemiVLError as error:
            return error


def _read(items: _Items[Item], places: range, workers: int, pin: bool) -> Generator[Item, None, None]:
    """Yield `items[place]` in order, made ahead of time by worker processes if there are any."""
    loader: DataLoader[Item | SemiVLError] = DataLoader(
        _Caught(items),  # type: ignore[arg-type]  # a Dataset by shape: it has __getitem__
        batch_size=None,
        sampler=places,
        num_workers=workers,
        pin_memory=pin,
        collate_fn=_unchanged,
        worker_init_fn=functools.partial(_start_worker, Path.cwd()),
        multiprocessing_context=_context() if workers else None,
        generator=torch.Generator(),  # of its own: the global one stays untouched
    )
    iterator = iter(loader)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            raise RunError(
                f"a process that reads images died, which mostly means too little (shared) memory: "
                f"`--set data.workers=0` reads without such processes ({str(error).splitlines()[0]})"
            ) from error
        if isinstance(item, SemiVLError):
            del iterator, loader  # ends the workers now; else the error's traceback would keep them
            raise item
        yield item


@functools.cache
def _context() -> BaseContext:
    """Return how workers are started: from a clean server, since a fork copies locks and threads in any state."""
    atexit.register(_end_workers)
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "semivl_cli.data.server"])
    return context


def _end_workers() -> None:
    """End, at exit, the workers of an iterator that nobody closed: they ignore the signal that Python sends them."""
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


def _start_worker(folder: Path, _: int) -> None:
    """Prepare a worker: one thread, the parent's folder; stopping is the parent's business, which ends its workers."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.chdir(folder)
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _end_with_parent() -> None:
    """End this worker when the training is killed: the server that forked it lives as long as its workers do."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _worker_count(workers: Workers, first: Record, processes: int) -> int:
    if workers != "auto":
        return workers
    if callable(first.image):
        height, width = first.image().shape[:2]
        if height * width <= _SMALL_PIXELS:  # rendered faster than handed over
            return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if cores == 1 else max(1, min(cores // processes, _MOST_WORKERS))


def _images(images: Sequence[NDArray[np.uint8]]) -> Tensor:  # B x [H, W, 3] -> [B, 3, H, W]
    return torch.from_numpy(np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)))


def _unchanged(item: Item) -> Item:
    return item
