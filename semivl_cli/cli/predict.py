"""`semivl predict`: images in, mask PNGs out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import ConsoleReporter, print_json
from .options import Device


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for the masks.")],
    run: Annotated[
        Path | None, typer.Option(help="Run directory. [default: the newest run]", show_default=False)
    ] = None,
    overlays: Annotated[bool, typer.Option("--overlay", help="Also paint the classes over each picture.")] = False,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a picture.")] = False,
) -> None:
    """Segment your own images: one palette PNG a picture, in its size, with the definition's colours.

    Folders are searched to any depth; masks go to the same place below --out. Exit code 1: some could not be read.

    Example: semivl predict images/ --out masks/ --overlay
    """
    failed = 0
    with ConsoleReporter() as reporter:
        from ..engine.predict import load, predict_files  # noqa: PLC0415 - torch is imported only when it is needed

        predictor = load(run, device or "auto")
        reporter.note(f"using {predictor.run}, step {predictor.step} ({predictor.selected})")
        found = []
        for prediction in predict_files(predictor, images, out, overlays=overlays, reporter=reporter):
            found.append(prediction)
            if prediction.error:
                failed += 1
                reporter.note(f"semivl: {prediction.error}")
    if as_json:
        print_json(
            [
                {
                    "image": str(item.image),
                    "mask": None if item.mask is None else str(item.mask),
                    "classes": item.shares,
                    "error": item.error,
                }
                for item in found
            ]
        )
    if failed:
        from ..errors import CheckFailed  # noqa: PLC0415

        raise CheckFailed(f"{failed} of {len(found)} pictures could not be read; the others are in {out}")
    reporter.note(f"{len(found)} {'mask' if len(found) == 1 else 'masks'} in {out}")
