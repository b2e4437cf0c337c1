"""Training images whose masks nobody sees: all records but some, as a view that costs as little as those few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from semivl_cli.data.contract import Record
from semivl_cli.data.pool.records import Listed, Records


class Hidden(Listed):
    """Records without their labels, and without those whose numbers are left out."""

    def __init__(self, records: Records, left_out: Sequence[int]) -> None:
        self._records = records
        self._left_out = np.unique(np.asarray(left_out, np.int64))
        # A position lies behind as many gaps as there are numbers here that are not larger.
        self._gaps = self._left_out - np.arange(len(self._left_out))

    def __len__(self) -> int:
        return len(self._records) - len(self._left_out)

    def _at(self, number: int) -> Record:
        record = self._records[self.number(number)]
        return Record(id=record.id, image=record.image)

    def __iter__(self) -> Iterator[Record]:
        left_out = set(self._left_out.tolist())
        seen = (record for number, record in enumerate(self._records) if number not in left_out)
        return (Record(id=record.id, image=record.image) for record in seen)

    def number(self, position: int) -> int:
        """Return the number, among all records, of the one at a position."""
        return position + int(np.searchsorted(self._gaps, position, side="right"))

    def digest(self) -> str:
        """Return the SHA-256 that stands for the ids, in whatever order."""
        return self._records.digest([self._records[int(number)] for number in self._left_out])
