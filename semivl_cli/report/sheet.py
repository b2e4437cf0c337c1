"""Lays out the picture sheet of a run: for each example the scene, its label, CLIP's guidance and the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from semivl_cli.errors import InputError
from semivl_cli.paint import INK, PAPER, Color, fit_text, legend, overlay
from semivl_cli.report.run import Example, Run

ROWS = 6
CELL = 288  # pixels of a picture's longer side
GAP = 14
MARGIN = 32
OPACITY = 0.75
QUIET: Color = (107, 114, 128)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """One example, read: uint8 pictures, `None` where the run had no guidance."""

    id: str
    scene: NDArray[np.uint8]  # [H, W, 3]
    label: NDArray[np.uint8]  # [H, W]
    guidance: NDArray[np.uint8] | None  # [H, W]
    prediction: NDArray[np.uint8]  # [H, W]


def examples_sheet(run: Run) -> NDArray[np.uint8]:
    """Draw up to six examples -> uint8 RGB `[height, width, 3]`, with column titles, a legend and each example's mIoU.

    Small pictures are enlarged pixel by pixel, large ones reduced; the text is drawn at the sheet's own size.

    Raises:
        InputError: the run has no examples.
    """
    if not run.examples:
        raise InputError(f"{run.path} has no examples/ yet: the first evaluation of a run writes them.")
    rows = [_read(example) for example in run.examples[:ROWS]]
    colors = [entry.color for entry in run.classes]
    columns = [("Scene", "what the model sees"), ("Label", "what it is scored against")]
    if any(row.guidance is not None for row in rows):
        columns.append(("Guidance", "frozen CLIP, where it is sure"))
    columns.append(("Prediction", "what the run makes of it"))
    width = 2 * MARGIN + len(columns) * CELL + (len(columns) - 1) * GAP
    bands = [_heading(run, width), _legend(run, rows, width), _titles(columns, width)]
    bands += [_band(row, colors, len(columns) == 4, width) for row in rows]
    bands.append(paper(width, MARGIN - GAP))
    return np.concatenate([np.asarray(band) for band in bands])


def example_miou(label: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int) -> float:
    """Return the mean IoU (0..1) over the classes that occur in `label` or `prediction` (both `[H, W]`).

    Pixels whose label is no class do not count; NaN where no pixel counts.
    """
    counted = label < classes
    pairs = np.bincount(label[counted].astype(np.intp) * 256 + prediction[counted], minlength=classes * 256)
    confusion = pairs.reshape(classes, 256)
    hit = np.diagonal(confusion)
    union = confusion.sum(axis=1) + confusion.sum(axis=0)[:classes] - hit
    return float(np.mean(hit[union > 0] / union[union > 0])) if union.any() else float("nan")


def _read(example: Example) -> _Row:
    with Image.open(example.image) as picture:
        scene = np.asarray(picture.convert("RGB"))
    return _Row(
        id=example.id,
        scene=scene,
        label=_ids(example.label),
        guidance=_ids(example.guidance) if example.guidance else None,
        prediction=_ids(example.prediction),
    )


def _ids(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture)


def _heading(run: Run, width: int) -> Image.Image:
    band, draw = canvas(width, MARGIN + 62)
    room = width - 2 * MARGIN
    title, small = ImageFont.load_default(30), ImageFont.load_default(18)
    draw.text((MARGIN, MARGIN + 22), fit_text(run.title, title, room), fill=INK, font=title, anchor="ls")
    facts = [run.path.resolve().name]
    if run.last and not np.isnan(run.last.miou):
        facts.append(f"step {run.last.step}")
        facts.append(f"mIoU {100 * run.last.miou:.1f} % over all validation images")
    draw.text((MARGIN, MARGIN + 50), fit_text("  ·  ".join(facts), small, room), fill=QUIET, font=small, anchor="ls")
    return band


def _legend(run: Run, rows: Sequence[_Row], width: int) -> Image.Image:
    ids = [ids for row in rows for ids in (row.label, row.guidance, row.prediction) if ids is not None]
    occurring = np.unique(np.concatenate([np.unique(part) for part in ids]))
    shown = [run.classes[index] for index in occurring if index < len(run.classes)]
    swatches = legend([entry.name for entry in shown], [entry.color for entry in shown], width - 2 * MARGIN)
    band = paper(width, len(swatches) + 16)
    band.paste(Image.fromarray(swatches), (MARGIN, 0))
    return band


def _titles(columns: Sequence[tuple[str, str]], width: int) -> Image.Image:
    band, draw = canvas(width, 58)
    title, small = ImageFont.load_default(22), ImageFont.load_default(16)
    draw.line((MARGIN, 0, width - MARGIN, 0), fill=(220, 223, 228))
    for index, (name, explanation) in enumerate(columns):
        x = MARGIN + index * (CELL + GAP)
        draw.text((x, 30), name, fill=INK, font=title, anchor="ls")
        draw.text((x, 50), fit_text(explanation, small, CELL), fill=QUIET, font=small, anchor="ls")
    return band


def _band(row: _Row, colors: Sequence[Color], guided: bool, width: int) -> Image.Image:
    """Draw one example: its pictures side by side, its name below the scene, its mIoU below the prediction."""
    scene = fit(row.scene, Image.Resampling.LANCZOS)
    layers = [row.label, row.guidance, row.prediction] if guided else [row.label, row.prediction]
    height = len(scene)
    backdrop = fade(scene)
    band, draw = canvas(width, height + 30 + GAP)
    band.paste(Image.fromarray(scene), (MARGIN, 0))
    for index, ids in enumerate(layers, 1):
        if ids is not None:
            # Painted after scaling: borders stay one pixel wide, whatever the picture's size.
            painted = overlay(backdrop, fit(ids, Image.Resampling.NEAREST), colors, OPACITY)
            band.paste(Image.fromarray(painted), (MARGIN + index * (CELL + GAP), 0))
    font = ImageFont.load_default(16)
    draw.text((MARGIN, height + 20), fit_text(row.id, font, CELL), fill=QUIET, font=font, anchor="ls")
    miou = example_miou(row.label, row.prediction, len(colors))
    score = "nothing labelled here" if np.isnan(miou) else f"mIoU {100 * miou:.1f} %"
    x = MARGIN + len(layers) * (CELL + GAP)
    draw.text((x, height + 20), score, fill=INK, font=font, anchor="ls")
    return band


def fit(pixels: NDArray[np.uint8], reduction: Image.Resampling, cell: int = CELL) -> NDArray[np.uint8]:
    """Enlarge by a whole factor without inventing pixels, or reduce, until the longer side fills the cell."""
    height, width = pixels.shape[:2]
    factor = cell / max(height, width)
    if factor >= 1:
        return pixels.repeat(int(factor), axis=0).repeat(int(factor), axis=1)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(pixels).resize(size, reduction))


def fade(scene: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn `scene` into a pale grey of itself, over which the class colours look like those of the legend."""
    grey = Image.fromarray(scene).convert("L").convert("RGB")
    return np.asarray(Image.blend(grey, Image.new("RGB", grey.size, PAPER), 0.5))


def paper(width: int, height: int) -> Image.Image:
    """Give an empty white band."""
    return Image.new("RGB", (width, height), PAPER)


def canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Give an empty white band and the pen for it."""
    band = paper(width, height)
    return band, ImageDraw.Draw(band)
