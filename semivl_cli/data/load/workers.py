"""The processes that read ahead: they make what is needed next, and it arrives in order, whoever made it."""

from __future__ import annotations

import functools
import math
import os
import pickle
import signal
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

import torch
from torch.utils.data import DataLoader, get_worker_info

from semivl_cli.data.contract import Record
from semivl_cli.data.load.shared_memory import SHARED_MEMORY_IS_FULL, Transport, why_worker_died
from semivl_cli.data.read.opencv import cv2
from semivl_cli.errors import RunError, SemiVLError, first_line
from semivl_cli.processes import clean_context, end_with_parent, usable_cores

Workers = int | Literal["auto"]
"""Processes that read images; 0: this one; `"auto"`: by the number of cores."""

Item = TypeVar("Item")


def worker_count(workers: Workers, first: Record, sharing: int) -> int:
    """Return how many processes read records such as `first`, where `sharing` processes share this one's cores."""
    if workers != "auto":
        return workers
    if callable(first.image) and math.prod(first.image().shape[:2]) <= 256 * 256:
        return 0  # rendered faster than handed over
    cores = usable_cores()
    return 0 if cores == 1 else max(1, min(cores // sharing, 8))


def read_ahead(
    make: Callable[[int], Item],
    numbers: range,
    workers: int,
    transport: Transport,
    *,
    pin: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Generator[Item, None, None]:
    """Yield `make(number)` in order, made ahead of time by worker processes if there are any.

    Raises:
        SemiVLError: whatever `make` raised, in whatever process.
        RunError: a worker died.
    """
    said = transport.pipes
    with warnings.catch_warnings():  # more workers than cores are what the user asked for
        warnings.filterwarnings("ignore", "This DataLoader will create")
        loader: DataLoader[Item | SemiVLError | bytes] = DataLoader(
            _Caught(make, transport.pipes),  # type: ignore[arg-type]  # a Dataset by shape: it has __getitem__
            batch_size=None,
            sampler=numbers,
            num_workers=workers,
            prefetch_factor=transport.prefetch if workers else None,
            pin_memory=pin,
            collate_fn=_unchanged,
            worker_init_fn=functools.partial(_start_worker, Path.cwd()),
            multiprocessing_context=clean_context() if workers else None,
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
                f"a process that reads images died ({first_line(error)}): {why_worker_died(str(error))}"
            ) from error
        if isinstance(item, bytes):
            if not said:
                say(SHARED_MEMORY_IS_FULL)
                said = True
            item = pickle.loads(item)
            item = item.pin_memory() if pin else item
        if isinstance(item, SemiVLError):
            del iterator, loader  # ends the workers now; else the error's traceback would keep them
            raise item
        yield item


@dataclass(frozen=True, slots=True)
class _Caught(Generic[Item]):
    """Hands the user's mistakes over as values: raised in a worker, they would come back wrapped in its traceback."""

    make: Callable[[int], Item]
    pickled: bool

    def __getitem__(self, number: int) -> Item | SemiVLError | bytes:
        try:
            item = self.make(number)
        except SemiVLError as error:
            return error
        if self.pickled:
            return pickle.dumps(item)
        if hasattr(item, "share_memory") and get_worker_info() is not None:
            try:  # here: a batch for which torch itself finds no room is lost, and the training would wait for ever
                item.share_memory()
            except RuntimeError:
                return pickle.dumps(item)
        return item


def _start_worker(folder: Path, _: int) -> None:
    """Prepare a worker: one thread, the parent's folder; stopping is the parent's business, which ends its workers."""
    end_with_parent()
    os.chdir(folder)
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _unchanged(item: Item) -> Item:
    return item
