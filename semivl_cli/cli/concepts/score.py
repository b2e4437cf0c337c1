"""`semivl concepts score`: what each word of a definition finds and takes on labelled images, and what to fix first."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from semivl_cli.cli.concepts.score_tables import show_scores
from semivl_cli.cli.console import ConsoleReporter, print_json
from semivl_cli.cli.options import DefinitionArgument, Device, Json, Root, WeightsOption, settings_of


def score(
    file: DefinitionArgument,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Dataset plugin with the images. (default: the one that the definition belongs to)", show_default=False
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Labelled images: a count, a fraction, a file, all. (default: the recipe's)", metavar="N"),
    ] = None,
    root: Root = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the draw of labelled images. (default: 0)", show_default=False)
    ] = None,
    weights: WeightsOption = None,
    device: Device = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, such as guidance.zeta=0.8.", metavar="A.B=VALUE")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell what each concept finds and what it takes from other classes, before any training.

    The frozen CLIP labels the images that a training with the same options would call labelled.
    Its labels of a confidence of zeta or more, which would guide the training, are compared with yours.

    Examples: semivl concepts score shapes-careless --dataset shapes
              semivl concepts score street.toml --dataset folder --root my/ --labels 24
    """
    flags = settings_of(
        {
            "dataset": dataset,
            "seed": seed,
            "device": device,
            "data.labels": labels,
            "data.root": root,
            "data.definition": file,
        }
    )
    with ConsoleReporter() as reporter:
        from semivl_cli.engine.zero_shot import score as engine  # noqa: PLC0415 - torch is imported only when it is needed

        scored = engine.score(flags, assignments or (), weights, reporter)
        reporter.note(f"{scored.note}; {scored.clip}")
    if as_json:
        print_json(asdict(scored))
    else:
        show_scores(file, scored)
