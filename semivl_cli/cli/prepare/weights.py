"""`semivl prepare weights`: CLIP weights are fetched or taken, checked and kept."""

from __future__ import annotations

from typing import Annotated

import typer

from semivl_cli.cli.console import ConsoleReporter, print_line


def weights(
    model: Annotated[str, typer.Argument(help="Name of an open_clip model, such as ViT-B-16.")],
    source: Annotated[
        str, typer.Argument(metavar="[TAG|FILE]", help="open_clip's tag, or a file you have.")
    ] = "openai",
) -> None:
    """Fetch or take CLIP weights, check that they fit, and keep them for every later training.

    Example: semivl prepare weights ViT-B-16 openai
             semivl prepare weights ViT-B-16 Downloads/ViT-B-16.pt
    """
    from semivl_cli.engine.prepare.weights import prepare_weights  # noqa: PLC0415 - torch is imported when it is needed

    with ConsoleReporter() as reporter:
        path = prepare_weights(model, source, reporter)
    print_line(f"{path}: use it with --set model.clip={model} --set model.weights={path.stem}")
