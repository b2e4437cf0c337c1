"""`semivl train`: flags in, a run directory and a table out."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from semivl_cli.cli.console import ConsoleReporter, percent, print_json, print_line, print_table
from semivl_cli.cli.options import DefinitionOption, Device, Gpus, Json, Root, settings_of
from semivl_cli.errors import RunError


def train(
    dataset: Annotated[str | None, typer.Option(help="Dataset plugin. (default: shapes)", show_default=False)] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Labelled images: a count, a fraction, a file, all. (default: the recipe's)", metavar="N"),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="semivl, supervised or unimatch. (default: semivl)", show_default=False)
    ] = None,
    root: Root = None,
    unlabeled: Annotated[
        list[str] | None,
        typer.Option(
            help="More unlabelled images: a folder, tar shards (shards-{000..999}.tar), a list. Repeatable.",
            metavar="PATH",
            show_default=False,
        ),
    ] = None,
    definition: DefinitionOption = None,
    recipe: Annotated[str | None, typer.Option(help="Settings: tiny, or a TOML file.", metavar="NAME|FILE")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory. (default: runs/<dataset>-<labels>-<n>)", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of every draw. (default: 0)", show_default=False)] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Repeat with so many seeds, into <out>/seed-0, seed-1, ...", show_default=False),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(help="Step that is the result: last, best on val, held-out. (default: best)", show_default=False),
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
              semivl train --resume
    """
    flags = settings_of(
        {
            "dataset": dataset,
            "method": method,
            "recipe": recipe,
            "seed": seed,
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
        from semivl_cli.config import to_toml  # noqa: PLC0415
        from semivl_cli.engine.settings import configure  # noqa: PLC0415

        print_line(to_toml(configure(flags, assignments or ())))
        return
    from semivl_cli.engine.distributed.join import joined, launched  # noqa: PLC0415
    from semivl_cli.engine.distributed.launch import launch  # noqa: PLC0415 - torch is imported only when it is needed
    from semivl_cli.engine.train import start  # noqa: PLC0415
    from semivl_cli.engine.train.seeds import seeds_to_resume, train_seeds  # noqa: PLC0415
    from semivl_cli.report.page import write_report  # noqa: PLC0415
    from semivl_cli.reporter import Silence  # noqa: PLC0415

    if gpus is not None and gpus > 1 and not launched():
        raise SystemExit(
            launch(gpus, device or start.device_of(flags, assignments or (), out, resume=resume), sys.argv[1:])
        )
    with joined(gpus) as group:
        with ConsoleReporter() if group.is_main else nullcontext(Silence()) as reporter:
            several = group.broadcast(seeds_to_resume(out, seeds, resume=resume, process_group=group))
            if seeds is not None or several is not None:
                repeated = train_seeds(
                    flags,
                    assignments or (),
                    several or out,
                    seeds,
                    resume=several is not None,
                    finished=lambda result: write_report(result.run),
                    reporter=reporter,
                    process_group=group,
                )
            else:
                result = start.train(
                    flags, assignments or (), out, resume=resume, reporter=reporter, process_group=group
                )
        if group.is_main and (seeds is not None or several is not None):
            show_seeds(repeated, as_json)
        elif group.is_main:
            show_result(result, as_json)


def show_result(result: Any, as_json: bool) -> None:  # noqa: ANN401 - engine.train.Result, not imported for speed
    """Write the report of a training and show what came out."""
    from semivl_cli.report.page import write_report  # noqa: PLC0415

    report = write_report(result.run)
    if as_json:
        scores = {name: getattr(result, name).as_dict() for name in ("result", "last", "best")}
        print_json({"run": str(result.run), "selected": result.selected, **scores})
        return
    shown = result.result
    show_scores(f"{result.run}, step {shown.step} ({result.selected}): IoU in % on {shown.images} images", shown)
    if result.selected == "best on held-out labels":
        print_line(
            f"on the {result.best.images} held-out images that chose the step: mIoU {percent(result.best.miou)} %"
        )
    elif result.last.step != shown.step:
        print_line(f"the last step, {result.last.step}: mIoU {percent(result.last.miou)} %")
    elif result.best.step != shown.step:
        print_line(f"best on val: mIoU {percent(result.best.miou)} % at step {result.best.step}")
    print_line(f"pictures: {result.run / 'examples.png'}")
    print_line(f"report:   {report}")
    print_line(f"next:     semivl predict IMAGES --out masks/ --run {result.run}")


def show_seeds(repeated: Any, as_json: bool) -> None:  # noqa: ANN401 - engine.seeds.Repeated, not imported for speed
    """Show mean and deviation over several seeds; some that failed make the command fail once all has been shown."""
    summary = repeated.as_dict()

    def shown(spread: dict[str, float | None]) -> list[str]:
        return ["-" if value is None else percent(value) for value in (spread["mean"], spread["deviation"])]

    if as_json:
        print_json({"out": str(repeated.out), **summary})
    elif summary["runs"]:
        for run in summary["runs"]:
            print_line(f"seed {run['seed']}: mIoU {percent(run['miou'])} % at step {run['step']} ({run['selected']})")
        rows = [[name, *shown(spread)] for name, spread in summary["iou"].items()]
        title = f"{repeated.out}: IoU in % over {len(summary['runs'])} seeds"
        print_table(title, ["class", "mean", "deviation"], rows, ["mean", *shown(summary["miou"])])
    if repeated.failed:
        seed, why = next(iter(repeated.failed.items()))
        raise RunError(f"{len(repeated.failed)} of {len(summary['seeds'])} trainings failed, seed {seed}: {why}")


def show_scores(title: str, scores: Any) -> None:  # noqa: ANN401 - engine.evaluate.Scores, not imported for speed
    """Show the IoU of every class and their mean."""
    rows = [[name, percent(value)] for name, value in scores.iou.items()]
    print_table(title, ["class", "IoU %"], rows, ["mean", percent(scores.miou)])
