"""How the scores of runs are shown: of one, of several, of a training, of a training with several seeds."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semivl_cli.cli.console import counted, percent, print_json, print_line, print_table
from semivl_cli.errors import RunError

if TYPE_CHECKING:
    from semivl_cli.engine.infer.evaluate import Evaluated
    from semivl_cli.engine.infer.measure import Scores
    from semivl_cli.engine.seeds import Repeated
    from semivl_cli.engine.train.best_step import Result


ABSENT = "-: no pixel is labelled so: the mean counts 0 there, as published numbers do"


def _show_classes(run: Path, selected: str, scores: Scores) -> None:
    title = f"{run}, step {scores.step} ({selected}): IoU in % on {counted(scores.images, 'image')}"
    pixels = {name: str(scores.pixels.get(name, "")) for name in scores.iou}
    rows = [[name, pixels[name], percent(value)] for name, value in scores.iou.items()]
    columns, footer = ["class", "pixels", "IoU %"], ["mean", "", percent(scores.miou)]
    if scores.absent:
        there = len(scores.iou) - len(scores.absent)
        footer = [f"mean\nover the {there} labelled", "", f"{percent(scores.miou)}\n{percent(scores.miou_present)}"]
    print_table(title, columns, rows, footer)
    if scores.absent:
        print_line(ABSENT)


def show_runs(scored: Sequence[Evaluated], as_json: bool) -> None:
    """Show what `semivl eval` found: of a single run every class, of several a line each."""
    if as_json:
        print_json([{"run": str(found.run), "selected": found.selected, **found.scores.as_dict()} for found in scored])
    elif len(scored) == 1:
        [found] = scored
        _show_classes(found.run, found.selected, found.scores)
    else:
        rows = []
        for one in scored:
            means = map(percent, (one.scores.miou, one.scores.miou_present))
            rows.append([str(one.run), str(one.scores.step), one.selected, *means])
        print_table("mIoU in %", ["run", "step", "checkpoint", "mIoU %", "labelled classes %"], rows)


def show_training(result: Result, as_json: bool) -> None:
    """Write the report of a training and show what came out."""
    from semivl_cli.report.page import write_report  # noqa: PLC0415 - matplotlib is imported when it is needed

    report = write_report(result.run)
    if as_json:
        scores = {name: getattr(result, name).as_dict() for name in ("result", "last", "best")}
        print_json({"run": str(result.run), "selected": result.selected, **scores})
        return
    shown = result.result
    _show_classes(result.run, result.selected, shown)
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
    print_line(f"next:     semivl predict IMAGES --out masks/ --run {shlex.quote(str(result.run))}")


def show_seeds(repeated: Repeated, as_json: bool) -> None:
    """Show mean and deviation over several seeds; some that failed make the command fail once all has been shown."""
    summary = repeated.as_dict()

    if as_json:
        print_json({"out": str(repeated.out), **summary})
    elif summary["runs"]:
        for run in summary["runs"]:
            print_line(f"seed {run['seed']}: mIoU {percent(run['miou'])} % at step {run['step']} ({run['selected']})")
        rows = [[name, *map(percent, spread.values())] for name, spread in summary["iou"].items()]
        footer = ["mean", *map(percent, summary["miou"].values())]
        title = f"{repeated.out}: IoU in % over {len(summary['runs'])} seeds"
        absent = any(spread["mean"] is None for spread in summary["iou"].values())
        if absent:
            present = ["over the labelled", *map(percent, summary["miou_present"].values())]
            footer = [f"{one}\n{other}" for one, other in zip(footer, present, strict=True)]
        print_table(title, ["class", "mean", "deviation"], rows, footer)
        if absent:
            print_line(ABSENT)
    if repeated.failed:
        seed, why = next(iter(repeated.failed.items()))
        raise RunError(f"{len(repeated.failed)} of {len(summary['seeds'])} trainings failed, seed {seed}: {why}")
