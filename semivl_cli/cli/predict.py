"""`semivl predict`: images in, mask PNGs out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import ConsoleReporter, print_json_line
from .options import Device


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for the masks.")],
    run: Annotated[
        Path | None, typer.Option(help="Run directory. (default: the newest run)", show_default=False)
    ] = None,
    overlays: Annotated[bool, typer.Option("--overlay", help="Also paint the classes over each picture.")] = False,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line and picture.")] = False,
) -> None:
    """Segment your own images: one palette PNG a picture, in its size, with the definition's colours.

    Folders are searched to any depth; masks go to the same place below --out. Exit code 1: some could not be read.

    Example: semivl predict images/ --out masks/ --overlay
    """
    failed = 0
    with ConsoleReporter() as reporter:
        # torch is imported only when it is needed
        from ..engine.predict import load, plan_predictions, predict_files  # noqa: PLC0415

        jobs = plan_predictions(images, out)
        predictor = load(run, device or "auto")
        reporter.note(f"using {predictor.run}, step {predictor.step} ({predictor.selected})")
        for prediction in predict_files(predictor, jobs, overlays=overlays, reporter=reporter):
            if as_json:
                mask = None if prediction.mask is None else str(prediction.mask)
                result = {"image": str(prediction.image), "mask": mask, "classes": prediction.shares}
                print_json_line({**result, "error": prediction.error})
            if prediction.error:
                failed += 1
                reporter.note(f"semivl: {prediction.error}")
    if failed:
        from ..errors import CheckFailed  # noqa: PLC0415

        raise CheckFailed(f"{failed} of {len(jobs)} pictures could not be read; the others are in {out}")
    reporter.note(f"{len(jobs)} {'mask' if len(jobs) == 1 else 'masks'} in {out}")
