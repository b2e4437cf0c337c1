"""`semivl eval`: per-class IoU and mIoU of runs on validation images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semivl_cli.cli.console import print_line
from semivl_cli.cli.gpus import processes
from semivl_cli.cli.options import Device, Gpus, Json, Root
from semivl_cli.cli.score_tables import show_runs


def evaluate(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", help="Run directories. (default: the newest)")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset plugin. (default: the run's own)")] = None,
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
    from semivl_cli.engine.infer.evaluate import evaluate as evaluate_run  # noqa: PLC0415 - needs torch

    where = device or "auto"
    chosen: list[Path | None] = [*runs] if runs else [None]
    with processes(gpus, lambda: where) as (group, reporter):
        scored = [
            evaluate_run(run, dataset=dataset, root=root, device=where, reporter=reporter, process_group=group)
            for run in chosen
        ]
    if group.is_main and report:
        from semivl_cli.report.page import write_report  # noqa: PLC0415 - likewise

        for path in [write_report(found.run) for found in scored]:
            if not as_json:
                print_line(f"report: {path}")
    if group.is_main:
        show_runs(scored, as_json)
