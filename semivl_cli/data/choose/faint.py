"""Tells of images that look like a single grey, because they use little of the range of their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from semivl_cli.data.choose.index import Index
from semivl_cli.data.contract import Record
from semivl_cli.data.read.brightness import ValueRange
from semivl_cli.data.read.picture_files import Picture, open_picture
from semivl_cli.errors import InputError

_LOOKED_AT = 16
"""Images of each kind, evenly spread."""


def faint_notes(index: Index, value_range: ValueRange | None) -> list[str]:
    """Look at a few images of a training; returns what to say of faint ones. Of 8-bit ones the headers are read."""
    looked_at = [*_some(index.labeled), *_some(index.unlabeled)]
    faint = [record.id for record in looked_at if _is_faint(record, value_range)]
    return [too_faint(len(faint), len(looked_at), faint[0])] if faint else []


def too_faint(count: int, of: int, first: str) -> str:
    """Say that so many images of so many use little of their range."""
    return (
        f"{count} of {of} images use less than a sixteenth of the range of their numbers, such as {first!r}: they look "
        "nearly black, or like a single grey; if their camera has another range, tell which numbers are black and "
        "white, such as value_range = [0, 4095] in dataset.toml (semivl predict --value-range 0 4095)"
    )


def _some(records: Sequence[Record]) -> list[Record]:
    step = max(len(records) // _LOOKED_AT, 1)
    return [records[number] for number in range(0, len(records), step)][:_LOOKED_AT]


def _is_faint(record: Record, value_range: ValueRange | None) -> bool:
    def look(picture: Picture) -> bool:
        return picture.is_deep and picture.shown(value_range)[1]

    try:
        return not callable(record.image) and open_picture(record.image, str(record.image), look)
    except InputError:  # whoever needs it says so
        return False
