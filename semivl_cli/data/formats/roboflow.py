"""Roboflow's "Semantic Segmentation Masks": `7_mask.png` beside `7.jpg`, and `_classes.csv` that tells the values."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial

from semivl_cli.data.annotation.annotations import Annotations, Drawing
from semivl_cli.data.annotation.exported_split import split_of_folders
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.voc import LabelMap, paint_explained
from semivl_cli.errors import InputError
from semivl_cli.files import bare

CLASSES = "_classes.csv"
MASK = "_mask"
"""What the name of a mask has more than that of its image."""


def find_roboflow(given: Given) -> list[Tree]:
    """Return the whole of what holds a table of pixel values; other tables of this name are of whole images."""
    tables = (file for file in given.files if file.name == CLASSES)
    return [given.tree] if not given.is_file and any(_rows(file)[:1] == [_HEAD] for file in tables) else []


def open_roboflow(source: Tree) -> Annotations:
    """Open masks, each explained by the table in its folder.

    Raises:
        InputError: if a table is broken, or a mask has none.
    """
    masks: list[tuple[str, Tree]] = []
    tables: dict[str, LabelMap] = {}
    for name, file in source.files():
        folder = name.rpartition("/")[0]
        if file.name == CLASSES:
            tables[folder] = _read_table(file)
        elif file.is_picture and bare(name).endswith(MASK):
            masks.append((name, file))
    without = next((file for name, file in masks if name.rpartition("/")[0] not in tables), None)
    if without is not None:
        raise InputError(f"{without}: no {CLASSES} beside it tells what its values are")

    def drawings() -> Iterator[Drawing]:
        for name, file in masks:
            folder = name.rpartition("/")[0]
            yield Drawing(
                image=bare(name).removesuffix(MASK),
                origin=str(file),
                stamp=f"{file.stamp} {tables[folder]}",  # a value that is called otherwise is another drawing
                paint=partial(paint_explained, file, tables[folder]),
                picture=file,
                split=split_of_folders(folder.split("/")),
            )

    labels = {label: None for table in tables.values() for label in table.labels}
    return Annotations(kind="Roboflow's masks", where=str(source), labels=labels, drawings=drawings, some_unseen=True)


_HEAD = ["pixel value", "class"]


def _rows(file: Tree) -> list[list[str]]:
    """Return the rows of a table, the first one in lower case; raises `InputError` where it is none."""
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file.text().splitlines()) if row]
    except csv.Error as error:
        raise InputError(f"{file}: not a table: {error}") from error
    return [[cell.lower() for cell in row] if number == 0 else row for number, row in enumerate(rows)]


def _read_table(file: Tree) -> LabelMap:
    head, *rows = _rows(file) or [[]]
    if head != _HEAD:
        raise InputError(f"{file}: expected the columns 'Pixel Value' and 'Class', got {', '.join(head)[:60]!r}")
    values: dict[int, str] = {}
    for row in rows:
        if len(row) != 2 or not (row[0].isascii() and row[0].isdigit() and len(row[0]) < 6):
            raise InputError(f"{file}: expected a pixel value and a class, got {', '.join(row)[:60]!r}")
        if values.setdefault(int(row[0]), row[1]) != row[1]:
            raise InputError(f"{file}: the value {row[0]} is of two classes, {values[int(row[0])]!r} and {row[1]!r}")
    return LabelMap(values, {}, dict.fromkeys(values.values()))


FORMAT = Format(title="Roboflow's masks", find=find_roboflow, open=open_roboflow)
