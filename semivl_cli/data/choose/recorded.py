"""The images of a run that goes on: those that its `split.json` lists, whatever has come to the dataset since."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from semivl_cli.data.contract import Record
from semivl_cli.data.pool.records import Records
from semivl_cli.errors import InputError
from semivl_cli.run_files import Split


class Recorded(NamedTuple):
    """What of a dataset a run has seen."""

    train: Records
    """Labelled images in their order, then unlabelled ones in theirs: each keeps its turn in the shuffles."""
    val: Records
    labeled: tuple[str, ...]
    """Ids of the labelled images, held-out ones with them."""
    notes: tuple[str, ...]


def recorded(
    train: Records, val: Records, split: Split, root: Path, missing: Literal["refuse", "skip"]
) -> Recorded | None:
    """Return what a run began with, of what its dataset lists today; `None` where the run kept no list of it.

    An image may have changed sides since, as where new masks give a folder more validation images: the list rules.

    Raises:
        InputError: the dataset lists an image no more, and what is missing is refused.
    """
    if split.unlabeled.ids is None:
        return None
    labeled = (*split.labeled, *split.held_out)
    wanted = {*labeled, *split.unlabeled.ids, *split.val}
    there = {record.id: record for records in (train, val) for record in records if record.id in wanted}
    bare = {name for name in (*labeled, *split.val) if name in there and there[name].label is None}
    there = {name: record for name, record in there.items() if name not in bare}
    gone = sorted(wanted - there.keys())
    if gone and missing == "refuse":
        raise InputError(
            f"{root}: {len(gone)} of the images or masks that the run began with (split.json) are gone, the first is "
            f"{gone[0]!r}: put them back, or go on without them: --set data.missing=skip"
        )

    def of(ids: Sequence[str]) -> Iterator[Record]:
        return (there[name] for name in ids if name in there)

    notes = []
    if gone:
        notes.append(f"{len(gone)} images or masks that the run began with are gone, such as {gone[0]!r}: left out")
    if added := len(train) + len(val) - len(there) - len(bare):
        new = next(record.id for records in (train, val) for record in records if record.id not in wanted)
        notes.append(
            f"{added} images have come since the run began, such as {new!r}: they stay out of it; a new run that "
            "begins with its weights takes them: --init"
        )
    return Recorded(
        train=Records.of(of((*labeled, *split.unlabeled.ids)), root),
        val=Records.of(of(split.val), root),
        labeled=tuple(name for name in labeled if name in there),
        notes=tuple(notes),
    )
