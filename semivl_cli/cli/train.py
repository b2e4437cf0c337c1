"""`semivl train`: flags in, a run directory and a table out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semivl_cli.cli.console import print_line
from semivl_cli.cli.gpus import processes
from semivl_cli.cli.options import DefinitionOption, Device, Gpus, Json, Labels, Root, settings_of
from semivl_cli.cli.score_tables import show_seeds, show_training


def train(
    dataset: Annotated[str | None, typer.Option(help="Dataset plugin. (default: shapes)")] = None,
    labels: Labels = None,
    method: Annotated[str | None, typer.Option(help="semivl, supervised or unimatch. (default: semivl)")] = None,
    root: Root = None,
    unlabeled: Annotated[
        list[str] | None,
        typer.Option(
            help="More unlabelled images: a folder, tar shards (shards-{000..999}.tar), a list. Repeatable.",
            metavar="PATH",
        ),
    ] = None,
    definition: DefinitionOption = None,
    recipe: Annotated[str | None, typer.Option(help="Settings: tiny, or a TOML file.", metavar="NAME|FILE")] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            help="Begin with the weights of a run, and with what settings of it no flag changes.", metavar="RUN"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory. (default: runs/<dataset>-<labels>-<n>)")] = None,
    seed: Annotated[int | None, typer.Option(help="Of every draw. (default: 0)")] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Repeat with so many seeds, into <out>/seed-0, seed-1, ...")
    ] = None,
    select: Annotated[
        str | None, typer.Option(help="Step that is the result: last, best on val, held-out. (default: best)")
    ] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Ask torch for the same bits each time; slower on a GPU.")
    ] = False,
    device: Device = None,
    gpus: Gpus = None,
    fit: Annotated[bool, typer.Option("--fit", help="Find the largest micro-batch that fits into memory.")] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, such as training.steps=100.", metavar="A.B=VALUE")
    ] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Show all settings and stop.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --out, or the newest unfinished run.")] = False,
    as_json: Json = False,
) -> None:
    """Train a model from a few labels, many images and a class definition.

    Examples: semivl train
              semivl train --dataset voc --labels 92
              semivl train --dataset folder --root my/ --definition my.toml --labels 24
              semivl train --dataset cityscapes --gpus 4
              semivl train --dataset voc --labels 92 --unlabeled photos/ --unlabeled 'shards-{000..099}.tar'
              semivl train --seeds 3
              semivl train --init runs/voc-92-1 --set training.steps=5000
              semivl train --resume
    """
    assignments = assignments or []
    flags = settings_of(
        {
            "dataset": dataset,
            "method": method,
            "recipe": recipe,
            "seed": seed,
            "model.init": init,
            "device": device,
            "training.select": select,
            "training.micro_batch": "fit" if fit else None,
            "training.deterministic": deterministic or None,
            "data.labels": labels,
            "data.root": root,
            "data.unlabeled": unlabeled,
            "data.definition": definition,
        }
    )
    if print_config:
        from semivl_cli.engine.precedence import configure  # noqa: PLC0415
        from semivl_cli.settings_toml import to_toml  # noqa: PLC0415

        print_line(to_toml(configure(flags, assignments)))
        return
    from semivl_cli.engine.seeds import seeds_to_resume, train_seeds  # noqa: PLC0415
    from semivl_cli.engine.train import start  # noqa: PLC0415 - torch is imported when it is needed
    from semivl_cli.report.page import write_report  # noqa: PLC0415

    def asked() -> str:
        return device or start.device_of(flags, assignments, out, resume=resume)

    with processes(gpus, asked) as (group, reporter):
        several = group.broadcast(seeds_to_resume(out, seeds, resume=resume, process_group=group))
        if seeds is None and several is None:
            result = start.train(flags, assignments, out, resume=resume, reporter=reporter, process_group=group)
        else:
            repeated = train_seeds(
                flags,
                assignments,
                several or out,
                seeds,
                resume=several is not None,
                finished=lambda result: write_report(result.run),
                reporter=reporter,
                process_group=group,
            )
    if group.is_main and (seeds is not None or several is not None):
        show_seeds(repeated, as_json)
    elif group.is_main:
        show_training(result, as_json)
