"""Draws what the colours of a definition's masks and overlays mean: a swatch and a name for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semivl_cli.errors import RunError
from semivl_cli.palette import Color, save_image
from semivl_cli.report.figures import INK, QUIET, hexadecimal, shorten
from semivl_cli.report.grid import LETTER, blank, pixels_of, style

ROWS = 24
LINE = 30  # pixels


def draw_legend(title: str, classes: Sequence[tuple[str, Color]]) -> NDArray[np.uint8]:
    """Draw `classes` (name, colour) by id, in columns of `ROWS` -> uint8 RGB `[height, width, 3]`."""
    names = [f"{number}  {shorten(name, 40)}" for number, (name, _) in enumerate(classes)]
    rows, columns = min(len(names), ROWS), -(-len(names) // ROWS)
    width = 60 + LETTER * max(map(len, names))
    with style():
        figure, grid = blank([width * columns], [LINE * rows], gap=0)
        axes = figure.add_subplot(grid[0, 0])
        axes.set(xlim=(0, width * columns), ylim=(rows, 0))
        axes.set_axis_off()
        for number, (name, (_, color)) in enumerate(zip(names, classes, strict=True)):
            x, y = number // ROWS * width, number % ROWS + 0.5
            (swatch,) = axes.plot(x + 12, y, "s", markersize=14, color=hexadecimal(color), clip_on=False)
            swatch.set(markeredgecolor=QUIET, markeredgewidth=0.5)
            axes.text(x + 32, y, name, va="center", color=INK)
        axes.set_title(shorten(title, int(max(width * columns, 300) / LETTER)))
        return pixels_of(figure)


def write_legend(path: Path, title: str, classes: Sequence[tuple[str, Color]]) -> None:
    """Write the legend as PNG; its folder is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_image(path, draw_legend(title, classes), ours=True)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
