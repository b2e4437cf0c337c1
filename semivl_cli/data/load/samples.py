"""Validation images with their labels, as evaluation reads them."""

from __future__ import annotations

import functools
from collections.abc import Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import Dataset, Record
from semivl_cli.data.load.shared_memory import Transport
from semivl_cli.data.load.workers import Workers, read_ahead, worker_count
from semivl_cli.data.read.brightness import ValueRange
from semivl_cli.data.read.images import read_pair
from semivl_cli.data.read.views import at_short_side

Sample = tuple[Record, NDArray[np.uint8], NDArray[np.uint8]]
"""Record, image `[H, W, 3]` and label `[H0, W0]`."""


def val_samples(
    records: Sequence[Record],
    dataset: Dataset,
    class_names: Sequence[str],
    *,
    short_side: int | None,
    workers: Workers,
    sharing: int = 1,
    value_range: ValueRange | None = None,
) -> Generator[Sample, None, None]:
    """Yield the samples of records in order; closing the generator ends its workers.

    With `short_side` the image is scaled so that its short side has that many pixels; the label keeps its size.
    `value_range`: as `read_image` takes it.

    Raises:
        InputError: if a file cannot be read.
        RunError: if a worker process died.
    """
    make = functools.partial(_sample, tuple(records), dataset, class_names, short_side, value_range)
    count = worker_count(workers, records[0], sharing) if records else 0  # among many processes one may have none
    return read_ahead(make, range(len(records)), count, Transport())  # arrays come by pipes anyway


def _sample(
    records: Sequence[Record],
    dataset: Dataset,
    class_names: Sequence[str],
    short_side: int | None,
    value_range: ValueRange | None,
    number: int,
) -> Sample:
    image, label = read_pair(records[number], dataset, class_names, value_range)
    return records[number], at_short_side(image, short_side), label
