"""Batches of a training: which image comes when, and every draw, follow from seed, step, position and view alone.

No global generator is touched, so neither the number of workers or processes nor an interruption can change a run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivl_cli.config import RunConfig
from semivl_cli.data.choose.index import MOST_LOOKED_FOR, Index
from semivl_cli.data.contract import Dataset, Record
from semivl_cli.data.load.shared_memory import choose_transport
from semivl_cli.data.load.workers import read_ahead, worker_count
from semivl_cli.data.pool.shuffle import shuffled
from semivl_cli.data.pool.unlabeled import Pool
from semivl_cli.data.read.augment import ColorDraw, draw_color
from semivl_cli.data.read.cutmix import draw_box
from semivl_cli.data.read.images import read_image, read_pair
from semivl_cli.data.read.opencv import cv2
from semivl_cli.data.read.views import View, draw_view, view_ignore, view_image, view_label
from semivl_cli.errors import InputError

_MOST_IN_A_ROW = 100
"""Images that may be passed over one after the other; more look like a disk that is gone."""

_Crop = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""A view `[H, W, 3]` and its class ids, or what of it is padding: `[H, W]`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """One step's images: geometry done, colours drawn but not yet applied."""

    step: int
    x_image: Tensor
    """Labelled images, uint8 `[B, 3, H, W]`."""
    x_label: Tensor
    """Their class ids, uint8 `[B, H, W]`, 255 is ignored."""
    u_image: Tensor | None = None
    """Weak views of the unlabelled images, uint8 `[B, 3, H, W]`; `None` where nothing unlabelled is needed."""
    u_ignore: Tensor | None = None
    """uint8 `[B, H, W]`: 255 on padding, else 0."""
    partner_image: Tensor | None = None
    """A second crop of each unlabelled image; `None` where another image of the batch is the partner."""
    partner_ignore: Tensor | None = None
    colors: tuple[tuple[ColorDraw, ...], ...] | None = None
    """B draws for each of the two strong views."""
    partner_colors: tuple[tuple[ColorDraw, ...], ...] | None = None
    boxes: Tensor | None = None
    """CutMix boxes of the two strong views, int64 `[2, B, 4]`."""
    passed_over: tuple[str, ...] = ()
    """Why unlabelled images were not taken, a line each; the next ones of the shuffle stand in their places."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`; from pinned memory the copy does not wait."""
        return self._each_tensor(lambda tensor: tensor.to(device, non_blocking=device.type == "cuda"))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; the loader calls this."""
        return self._each_tensor(lambda tensor: tensor.pin_memory())

    def share_memory(self) -> Batch:
        """Return the batch in shared memory; raises `RuntimeError` where that is full."""
        return self._each_tensor(lambda tensor: tensor.share_memory_())

    def _each_tensor(self, change: Callable[[Tensor], Tensor]) -> Batch:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {name: change(value) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **changed)


def train_batches(
    index: Index,
    dataset: Dataset,
    class_names: Sequence[str],
    config: RunConfig,
    steps: range,
    *,
    pin: bool = False,
    rank_slice: slice | None = None,
    sharing: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> Generator[Batch, None, None]:
    """Yield the batches of `steps`, in page-locked memory if `pin`; closing the generator ends its workers.

    `rank_slice` holds this process's positions in each batch (`None`: all); `sharing` processes share the cores that it
    may use. `say` takes a line when the machine has too little shared memory for the batches under way.

    Raises:
        InputError: if a file cannot be read and is not passed over, or there is no unlabelled image.
        RunError: if a worker process died.
    """
    if config.uses_unlabeled and not index.unlabeled:
        raise InputError(
            "no image is unlabelled, so there is nothing to learn from but labels: "
            "label fewer with --labels, add images without masks (or --unlabeled PATH), or use --method supervised"
        )
    batches = Batches(index, dataset, class_names, config, rank_slice)
    count = worker_count(config.data.workers, index.labeled[0], sharing)
    transport = choose_transport(batches.bytes, count, sharing)
    if transport.note:
        say(transport.note)
    return read_ahead(batches.__getitem__, steps, count, transport, pin=pin, say=say)


def labeled_records(index: Index, config: RunConfig, step: int) -> list[Record]:
    """Return the labelled records of a step, in all processes together."""
    positions, records = range(config.training.batch), index.labeled
    return [records[_number(records, _Draw.LABELED_ORDER, config, step, position)] for position in positions]


def unlabeled_records(index: Index, config: RunConfig, step: int) -> list[Record]:
    """Return the unlabelled records of a step, before any is passed over; none where they are not needed."""
    positions, records = range(config.training.batch if config.uses_unlabeled else 0), index.unlabeled
    return [records[_number(records, _Draw.UNLABELED_ORDER, config, step, position)] for position in positions]


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


def _number(
    records: Sequence[Record], order: _Draw, config: RunConfig, step: int, position: int, passed_over: int = 0
) -> int:
    """Return the number of the record that stands at a position of a batch, once so many are passed over there.

    Records come as an endless stream of seeded permutations, so that a set smaller than a batch repeats within it.
    """
    epoch, turn = divmod(step * config.training.batch + position, len(records))
    turn, key = (turn + passed_over) % len(records), (config.seed, order, epoch)
    return records.at(turn, key) if isinstance(records, Pool) else shuffled(turn, len(records), key)


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of a training by their steps, each made when it is asked for; arguments as for `train_batches`."""

    index: Index
    dataset: Dataset
    class_names: Sequence[str]
    config: RunConfig
    rank_slice: slice | None = None

    @property
    def positions(self) -> range:
        """Where this process's images stand in the batch."""
        return range(self.config.training.batch)[self.rank_slice or slice(None)]

    @property
    def bytes(self) -> int:
        """Bytes of a batch: RGB and a mask for each crop."""
        crops = 1 if not self.config.uses_unlabeled else 2 if self.config.augment.partner == "pair" else 3
        return 4 * crops * len(self.positions) * self.config.data.crop**2

    def __getitem__(self, step: int) -> Batch:
        x_image, x_label = _stacked([self._labeled(step, position) for position in self.positions])
        labeled = Batch(step=step, x_image=x_image, x_label=x_label)
        return self._with_unlabeled(labeled) if self.config.uses_unlabeled else labeled

    def _with_unlabeled(self, labeled: Batch) -> Batch:
        step, augment, crop = labeled.step, self.config.augment, self.config.data.crop
        twice = augment.partner == "same_image"
        draws = (_Draw.UNLABELED_VIEW, _Draw.PARTNER_VIEW) if twice else (_Draw.UNLABELED_VIEW,)
        crops, passed_over = zip(*(self._unlabeled(step, position, draws) for position in self.positions), strict=True)
        weak, *others = map(_stacked, zip(*crops, strict=True))
        partner = others[0] if twice else (None, None)
        boxes = [[draw_box(rng, crop, crop, augment) for rng in view] for view in self._generators(_Draw.BOX, step)]
        return replace(
            labeled,
            u_image=weak[0],
            u_ignore=weak[1],
            partner_image=partner[0],
            partner_ignore=partner[1],
            colors=self._colors(_Draw.COLOR, step),
            partner_colors=self._colors(_Draw.PARTNER_COLOR, step) if twice else None,
            boxes=torch.tensor(boxes, dtype=torch.int64),
            passed_over=tuple(itertools.chain.from_iterable(passed_over)),
        )

    def _labeled(self, step: int, position: int) -> _Crop:
        records = self.index.labeled
        record = records[_number(records, _Draw.LABELED_ORDER, self.config, step, position)]
        image, label = read_pair(record, self.dataset, self.class_names, self.config.data.value_range)
        view = self._view(image, _Draw.LABELED_VIEW, step, position)
        return view_image(image, view), view_label(label, view)

    def _unlabeled(self, step: int, position: int, draws: Sequence[_Draw]) -> tuple[list[_Crop], list[str]]:
        """Read one image and cut a crop and its ignore mask for each draw; tell which images were passed over."""
        image, passed_over = self._unlabeled_image(step, position)
        views = [self._view(image, draw, step, position) for draw in draws]
        return [(view_image(image, view), view_ignore(view)) for view in views], passed_over

    def _unlabeled_image(self, step: int, position: int) -> tuple[NDArray[np.uint8], list[str]]:
        """Read the image whose turn it is; where it cannot be used, the next one of the shuffle, whoever reads it."""
        records = self.index.unlabeled
        passed_over: list[str] = []
        while len(passed_over) < _MOST_IN_A_ROW:
            number = _number(records, _Draw.UNLABELED_ORDER, self.config, step, position, len(passed_over))
            try:
                source = records[number].image
                if not isinstance(records, Pool) or not records.is_known(number, source):
                    return read_image(source, self.config.data.value_range), passed_over
                passed_over.append(f"{source}: the same file is a labelled or validation image")
            except InputError as error:
                if not self._passes_over(number):
                    raise
                passed_over.append(str(error))
        raise InputError(f"{_MOST_IN_A_ROW} images in a row cannot be used, the first: {passed_over[0]}")

    def _passes_over(self, number: int) -> bool:
        """Whether a damaged image is passed over; `"auto"`: where not all were looked for beforehand."""
        if self.config.data.damaged != "auto":
            return self.config.data.damaged == "skip"
        records = self.index.unlabeled
        own = len(records.own) if isinstance(records, Pool) else len(records)
        return number >= own or own > MOST_LOOKED_FOR

    def _view(self, image: NDArray[np.uint8], draw: _Draw, step: int, position: int) -> View:
        size = image.shape[0], image.shape[1]
        return draw_view(self._generator(draw, step, position), size, self.config.data, self.config.augment.flip)

    def _colors(self, draw: _Draw, step: int) -> tuple[tuple[ColorDraw, ...], ...]:
        views = self._generators(draw, step)
        return tuple(tuple(draw_color(rng, self.config.augment) for rng in view) for view in views)

    def _generators(self, draw: _Draw, step: int) -> list[list[np.random.Generator]]:
        """Return a generator for each image of each of the two strong views."""
        return [[self._generator(draw, step, position, view) for position in self.positions] for view in (0, 1)]

    def _generator(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.config.seed, spawn_key=key))


def _stacked(crops: Sequence[_Crop]) -> tuple[Tensor, Tensor]:
    """Return uint8 `[B, 3, H, W]` of the images and `[B, H, W]` of what goes with them."""
    images, masks = zip(*crops, strict=True)
    batch = np.empty((len(images), 3, *images[0].shape[:2]), np.uint8)
    for planes, image in zip(batch, images, strict=True):
        cv2.split(image, list(planes))  # six times as fast as a transposed copy
    return torch.from_numpy(batch), torch.from_numpy(np.stack(masks))
