"""`semivl eval`: per-class IoU and mIoU of runs on validation images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from semivl_cli.cli.console import ConsoleReporter, percent, print_json, print_line, print_table
from semivl_cli.cli.options import Device, Gpus, Json, Root
from semivl_cli.cli.train import show_scores


def evaluate(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", help="Run directories. (default: the newest)")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Dataset plugin. (default: the run's own)", show_default=False)
    ] = None,
    root: Root = None,
    device: Device = None,
    gpus: Gpus = None,
    report: Annotated[bool, typer.Option("--report", help="Write report.html anew.")] = False,
    as_json: Json = False,
) -> None:
    """Score trained models: per-class IoU and mIoU on the validation images.

    Examples: semivl eval
              semivl eval runs/voc-92-1 --root /data/VOCdevkit --gpus 4 --json
    """
    from semivl_cli.engine.distributed.join import joined, launched  # noqa: PLC0415
    from semivl_cli.engine.distributed.launch import launch  # noqa: PLC0415 - torch is imported only when it is needed
    from semivl_cli.engine.infer.evaluate import score_run  # noqa: PLC0415
    from semivl_cli.reporter import Silence  # noqa: PLC0415

    where = device or "auto"
    if gpus is not None and gpus > 1 and not launched():
        raise SystemExit(launch(gpus, where, sys.argv[1:]))
    with (
        joined(gpus) as group,
        ConsoleReporter() if group.is_main else nullcontext(Silence()) as reporter,
    ):
        chosen: list[Path | None] = [*runs] if runs else [None]
        scored = [
            score_run(run, dataset=dataset, root=root, device=where, reporter=reporter, process_group=group)
            for run in chosen
        ]
    if group.is_main:
        _show(scored, report, as_json)


def _show(scored: Sequence[Any], report: bool, as_json: bool) -> None:  # of engine.score.Scored, not imported for speed
    if report:
        from semivl_cli.report.page import write_report  # noqa: PLC0415

        for found in scored:
            print_line(f"report: {write_report(found.run)}") if not as_json else write_report(found.run)
    if as_json:
        print_json([{"run": str(found.run), "selected": found.selected, **found.scores.as_dict()} for found in scored])
    elif len(scored) == 1:
        [found] = scored
        title = f"{found.run}, step {found.scores.step} ({found.selected}): IoU in % on {found.scores.images} images"
        show_scores(title, found.scores)
    else:
        rows = [
            [str(found.run), str(found.scores.step), found.selected, percent(found.scores.miou)] for found in scored
        ]
        print_table("mIoU in %", ["run", "step", "checkpoint", "mIoU %"], rows)
