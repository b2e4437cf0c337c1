"""Draws what the frozen CLIP sees for a definition: scene, classes, confidence, guidance, words on their regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Affine2D, Bbox
from numpy.typing import NDArray
from PIL import Image

from semivl_cli.class_ids import IGNORE
from semivl_cli.palette import Color, overlay
from semivl_cli.report.figures import INK, QUIET, hexadecimal, shorten
from semivl_cli.report.grid import LETTER, blank, fade, fit, head, pixels_of, show, style

CELL = 330  # pixels of a small picture's longer side; the large one is twice as long
ROWS = 24
LINE = 30
OPACITY = 0.75
LEAST = 0.0005  # share of the pixels that would be written as 0.0
NARROWEST = 220  # pixels of a column, so that its titles can be read


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What is drawn; maps are `[H, W]` at the size of `scene`."""

    title: str
    facts: str
    """One line: definition, CLIP, image."""
    scene: NDArray[np.uint8]
    """RGB `[H, W, 3]`."""
    classes: Sequence[tuple[str, Color]]
    """Name and colour by class id."""
    ids: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    zeta: float
    winners: NDArray[np.intp]
    """A number for the text that wins each pixel."""
    labels: Sequence[tuple[int, int, str]]
    """Row, column and words to write there, the most important first."""
    shares: Sequence[tuple[int, float, float, Sequence[tuple[str, float]]]]
    """Class id, share of the pixels, share that is sure, and words with theirs, 0..1, in the order of the legend."""


def draw_preview(preview: Preview) -> NDArray[np.uint8]:
    """Draw one image's preview -> uint8 RGB `[height, width, 3]`; very small images are enlarged pixel by pixel."""
    colors = [color for _, color in preview.classes]
    scene = fit(preview.scene, Image.Resampling.LANCZOS, CELL)
    height, width = scene.shape[:2]
    column, wide = max(width, NARROWEST), max(2 * width, NARROWEST)
    lines = min(len(preview.shares), ROWS + 1)
    sure = np.where(preview.confidence >= preview.zeta, preview.ids, IGNORE).astype(np.uint8)
    with style():
        figure, grid = blank([column, column, wide], [height, height, LINE * lines], gap=66)
        cells = [figure.add_subplot(grid[k // 2, k % 2]) for k in range(4)]
        size = f"{preview.scene.shape[1]} x {preview.scene.shape[0]} pixels"
        certain = f"{100 * np.mean(sure != IGNORE):.1f} % of the pixels would guide"
        show(cells[0], scene, "Image", size)
        show(cells[1], _painted(scene, preview.ids, colors), "Classes", "the most probable of each pixel")
        show(cells[2], preview.confidence, "Confidence")
        _scale(cells[2], width, height, preview.zeta)
        show(cells[3], _painted(scene, sure, colors), f"Sure: {preview.zeta:g} or more", certain)
        _words(figure.add_subplot(grid[:2, 2]), preview, colors)
        _table(figure.add_subplot(grid[2, :]), preview, lines)
        head(figure, preview.title, preview.facts, (), 2 * column + wide)
        return pixels_of(figure)


def _painted(scene: NDArray[np.uint8], ids: NDArray[np.uint8], colors: Sequence[Color]) -> NDArray[np.uint8]:
    return overlay(fade(scene), fit(ids, Image.Resampling.NEAREST, CELL), colors, OPACITY)


def _scale(axes: Axes, width: float, height: float, zeta: float) -> None:
    """Draw the scale of confidence above a picture of `width` x `height` pixels, with a mark at zeta."""
    bar = axes.inset_axes((14 / width, 1 + 9 / height, 120 / width, 11 / height))
    bar.imshow(np.linspace(0, 1, 120)[None], cmap="viridis", extent=(0, 1, 0, 1), aspect="auto")
    bar.set_axis_off()
    bar.plot([zeta, zeta], [-0.3, 1.3], color=INK, linewidth=1.5, clip_on=False)
    bar.text(-0.04, 0.5, "0", ha="right", va="center", color=QUIET)
    bar.text(1.04, 0.5, "1", va="center", color=QUIET)


def _words(axes: Axes, preview: Preview, colors: Sequence[Color]) -> None:
    """Paint classes palely, draw a line around each region of a word, and write the words where there is room."""
    scene = fit(preview.scene, Image.Resampling.LANCZOS, 2 * CELL)
    ids = fit(preview.ids, Image.Resampling.NEAREST, 2 * CELL)
    tall, wide = (shown / whole for shown, whole in zip(ids.shape, preview.ids.shape, strict=True))
    rows, columns = np.arange(ids.shape[0])[:, None], np.arange(ids.shape[1])
    winners = preview.winners[((rows + 0.5) / tall).astype(int), ((columns + 0.5) / wide).astype(int)]
    pixels = overlay(fade(scene), ids, colors, 0.55)
    pixels[:, 1:][winners[:, 1:] != winners[:, :-1]] = 255
    pixels[1:][winners[1:] != winners[:-1]] = 255
    show(axes, pixels, "Words", "the concept that wins, on its region")
    axes.apply_aspect()
    frame = axes.get_window_extent()
    taken: list[Bbox] = []
    for row, column, words in preview.labels:
        text = axes.text(
            (column + 0.5) * wide - 0.5,
            (row + 0.5) * tall - 0.5,
            shorten(words, 40),
            ha="center",
            va="center",
            size=11,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
        box = text.get_window_extent()
        right = max(frame.x0 - box.x0, 0) + min(frame.x1 - box.x1, 0)  # as far as it takes to be inside
        up = max(frame.y0 - box.y0, 0) + min(frame.y1 - box.y1, 0)
        text.set_transform(axes.transData + Affine2D().translate(right, up))
        box = box.translated(right, up)
        if any(box.overlaps(other) for other in taken):
            text.remove()  # the larger region keeps the place; the legend names both
        else:
            taken.append(box)


def _table(axes: Axes, preview: Preview, lines: int) -> None:
    """One line a class that occurs: swatch, name, share of the pixels, share of them that is sure, its words."""
    width = axes.get_window_extent().width
    axes.set(xlim=(0, width), ylim=(lines + 0.5, 0.5))
    axes.set_axis_off()
    shown, more = preview.shares[:ROWS], len(preview.shares) - ROWS
    names = [shorten(preview.classes[class_id][0], 24) for class_id, *_ in shown]
    end = 110 + LETTER * max(map(len, names))
    columns = ((30, "left"), (end, "right"), (end + 80, "right"), (end + 110, "left"))
    room = int((width - end - 110) / LETTER)
    table = [("", "pixels", "sure", "words that win them, with their share in %")]
    for row, (name, (class_id, share, sure, words)) in enumerate(zip(names, shown, strict=True), 1):
        color = hexadecimal(preview.classes[class_id][1])
        axes.plot(8, row, "s", markersize=11, color=color, markeredgecolor=QUIET, markeredgewidth=0.5)
        listed = ", ".join(f"{text} {100 * part:.1f}" for text, part in words if part >= LEAST)
        table.append((name, f"{100 * share:.1f} %", f"{100 * sure:.1f} %", shorten(listed, room)))
    if more > 0:
        table.append((f"and {more} more {'class' if more == 1 else 'classes'}", "", "", ""))
    for row, cells in enumerate(table):
        for (x, side), text in zip(columns, cells, strict=True):
            axes.text(x, row, text, ha=side, va="center", color=INK if row else QUIET)
