"""Draws `examples.png` of a run: for each example the scene, its label, CLIP's guidance and the prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semivl_cli.errors import InputError
from semivl_cli.palette import overlay
from semivl_cli.report.figures import shorten
from semivl_cli.report.grid import LETTER, blank, fade, fit, head, pixels_of, show, style
from semivl_cli.report.run import Run

ROWS = 6
CELL = 288  # pixels of a picture's longer side
OPACITY = 0.75
COLUMNS = {
    "scene": ("Scene", "what the model sees"),
    "label": ("Label", "what it is scored against"),
    "guidance": ("Guidance", "frozen CLIP, where it is sure"),
    "prediction": ("Prediction", "what the run makes of it"),
}


def examples_sheet(run: Run) -> NDArray[np.uint8]:
    """Draw up to six examples -> uint8 RGB `[height, width, 3]`, with column titles, a legend and each example's mIoU.

    Small pictures are enlarged pixel by pixel, large ones reduced; the legend names the classes that occur.

    Raises:
        InputError: the run has no examples.
    """
    if not run.examples:
        raise InputError(f"{run.path} has no examples/ yet: the first evaluation of a run writes them.")
    examples = run.examples[:ROWS]
    colors = run.definition.colors
    guided = any("guidance" in example.files for example in examples)
    columns = [name for name in COLUMNS if guided or name != "guidance"]
    scenes = [fit(_read(example.files["image"], "RGB"), Image.Resampling.LANCZOS, CELL) for example in examples]
    heights = [CELL * scene.shape[0] / max(scene.shape[:2]) for scene in scenes]
    occurring: set[int] = set()
    with style():
        figure, grid = blank([CELL] * len(columns), heights, gap=46)
        for row, (example, scene) in enumerate(zip(examples, scenes, strict=True)):
            masks = {name: _read(example.files[name]) for name in columns[1:] if name in example.files}
            occurring.update(*map(np.unique, masks.values()))
            miou = example_miou(masks["label"], masks["prediction"], len(colors))
            captions = {
                "scene": shorten(example.id, int(CELL / LETTER)),
                "prediction": "nothing labelled here" if np.isnan(miou) else f"mIoU {100 * miou:.1f} %",
            }
            backdrop, pictures = fade(scene), {"scene": scene}
            for name, mask in masks.items():
                # Painted after scaling: borders stay one pixel wide, whatever the picture's size.
                pictures[name] = overlay(backdrop, fit(mask, Image.Resampling.NEAREST, CELL), colors, OPACITY)
            for name, pixels in pictures.items():
                titles = COLUMNS[name] if row == 0 else ("", "")
                show(figure.add_subplot(grid[row, columns.index(name)]), pixels, *titles, captions.get(name, ""))
        shown = [(entry.name, entry.color) for k, entry in enumerate(run.definition.classes) if k in occurring]
        head(figure, run.definition.title, _facts(run), shown, len(columns) * CELL)
        return pixels_of(figure)


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


def _read(path: Path, mode: str | None = None) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert(mode) if mode else picture)


def _facts(run: Run) -> str:
    facts = [run.path.resolve().name]
    if run.last and not np.isnan(run.last.miou):
        facts += [f"step {run.last.step}", f"mIoU {100 * run.last.miou:.1f} % over all validation images"]
    return "  ·  ".join(facts)
