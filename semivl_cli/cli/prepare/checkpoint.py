"""`semivl prepare checkpoint`: a checkpoint of the published code becomes a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from semivl_cli.cli.console import ConsoleReporter, print_line
from semivl_cli.cli.options import DefinitionOption, settings_of


def checkpoint(
    file: Annotated[Path, typer.Argument(help="A checkpoint of the published code, such as best.pth.")],
    dataset: Annotated[str, typer.Option(help="Dataset plugin whose recipe fits it.")],
    out: Annotated[Path, typer.Option(help="Run directory to write.")],
    text: Annotated[
        Path | None, typer.Option(help="Class vectors, .npy or .safetensors. (default: embedded with CLIP)")
    ] = None,
    definition: DefinitionOption = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, such as data.crop=801.", metavar="A.B=VALUE")
    ] = None,
) -> None:
    """Turn a checkpoint of the published code into a run that eval, predict and train --resume take.

    Example: semivl prepare checkpoint best.pth --dataset voc --out runs/voc-92
    """
    with ConsoleReporter() as reporter:
        from semivl_cli.engine.prepare.checkpoint import prepare_checkpoint  # noqa: PLC0415 - torch is imported when it is needed

        flags = settings_of({"dataset": dataset, "data.definition": definition})
        run = prepare_checkpoint(file, flags, assignments or (), out, text, reporter)
    name = shlex.quote(str(run))
    print_line(f"{run}: score it with semivl eval {name}, use it with semivl predict IMAGES --out masks/ --run {name}")
