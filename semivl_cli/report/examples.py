"""Draws `examples.png` of a run: for each example the scene, its label, CLIP's guidance and the prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semivl_cli.errors import InputError, first_line
from semivl_cli.limits import check_pixels
from semivl_cli.palette import overlay
from semivl_cli.report.figures import shorten
from semivl_cli.report.grid import LETTER, blank, fade, fit, head, pixels_of, show, style
from semivl_cli.report.run import Example, Run

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
        InputError: the run has no examples, or a picture of one is absent or damaged.
    """
    if not run.examples:
        raise InputError(f"{run.path} has no examples/ yet: the first evaluation of a run writes them.")
    examples = run.examples[:ROWS]
    colors = run.definition.colors
    guided = any("guidance" in example.files for example in examples)
    columns = [name for name in COLUMNS if guided or name != "guidance"]
    read = [_pictures(run, example) for example in examples]
    scenes = [fit(found.pop("image"), Image.Resampling.LANCZOS, CELL) for found in read]
    heights = [CELL * scene.shape[0] / max(scene.shape[:2]) for scene in scenes]
    occurring: set[int] = set()
    with style():
        figure, grid = blank([CELL] * len(columns), heights, gap=46)
        for row, (example, scene, masks) in enumerate(zip(examples, scenes, read, strict=True)):
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


def _pictures(run: Run, example: Example) -> dict[str, NDArray[np.uint8]]:
    """Read the `image` of an example, RGB, and its masks, which are of that size."""
    found: dict[str, NDArray[np.uint8]] = {}
    for name in ("image", "label", "guidance", "prediction"):
        path = example.files.get(name)
        if path is None and name == "guidance":
            continue
        try:
            if path is None:
                raise FileNotFoundError(f"{name}.png is absent")
            with Image.open(path) as picture:
                check_pixels(picture.height, picture.width, str(path))
                found[name] = np.asarray(picture.convert("RGB") if name == "image" else picture)
            if found[name].shape[:2] != found["image"].shape[:2] or found[name].dtype != np.uint8:
                raise ValueError(f"a mask of {found[name].dtype} {found[name].shape}")
            if name != "image" and found[name].ndim != 2:
                raise ValueError("a mask with colours")
        except Exception as error:  # of a damaged picture Pillow raises nearly anything
            raise InputError(
                f"{path or example.id}: the picture of an example is damaged ({first_line(error)}): delete the folder "
                f"{run.path / 'examples'}, and the report is written without pictures"
            ) from error
    return found


def _facts(run: Run) -> str:
    facts = [run.path.resolve().name]
    if run.last and not np.isnan(run.last.miou):
        facts += [f"step {run.last.step}", f"mIoU {100 * run.last.miou:.1f} % over all validation images"]
    return "  ·  ".join(facts)
