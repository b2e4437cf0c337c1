"""`--gpus`: starts the processes that are asked for, or joins those of a launcher; the first alone speaks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import typer

from semivl_cli.cli.console import ConsoleReporter
from semivl_cli.reporter import Reporter, Silence

if TYPE_CHECKING:
    from semivl_cli.engine.distributed.group import ProcessGroup


@contextmanager
def processes(gpus: int | None, device: Callable[[], str]) -> Iterator[tuple[ProcessGroup, Reporter]]:
    """Give this process and its voice among those that work together.

    Where `gpus` of them are still to be started on `device`, they run this very command, and this process leaves with
    their exit code.
    """
    from semivl_cli.engine.distributed.join import joined, launched  # noqa: PLC0415 - torch is imported when it is needed
    from semivl_cli.engine.distributed.launch import launch  # noqa: PLC0415

    if gpus is not None and gpus > 1 and not launched():
        raise SystemExit(launch(gpus, device(), sys.argv[1:]))
    with (
        joined(gpus, lambda line: typer.echo(line, err=True)) as group,
        ConsoleReporter() if group.is_main else nullcontext(Silence()) as reporter,
    ):
        yield group, reporter
