"""What people see: progress, notes and tables; data goes to stdout, everything else to stderr. The only printer."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.table import Table

from semivl_cli.reporter import Reporter

_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 8000
LINE_SECONDS = 10.0  # between lines of progress where there is no terminal


class ConsoleReporter(Reporter):
    """Shows what the engine reports: a live display on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
        self._progress = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[values]}"),
            console=self.console,
            expand=True,
            disable=not self.console.is_terminal,
        )
        self._tasks: dict[str, Task] = {}

    def __enter__(self) -> ConsoleReporter:
        """Open the display."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the display."""
        self._progress.stop()

    def note(self, message: str) -> None:
        """Say one line."""
        self.console.print(one_line(message), markup=False)

    def start(self, task: str, total: int, done: int = 0) -> None:
        """Begin a task."""
        self._progress.add_task(task, total=total, completed=done, values="", before=done, said=0.0)
        self._tasks[task] = self._progress.tasks[-1]

    def advance(self, task: str, done: int, values: Mapping[str, float]) -> None:
        """Show how far it is; without a terminal, a line every ten seconds."""
        shown, bar = _shown(values), self._tasks[task]
        self._progress.update(bar.id, completed=done, values=shown)
        elapsed = bar.elapsed or 0
        if not self.console.is_terminal and elapsed - bar.fields["said"] >= LINE_SECONDS:
            left = elapsed * (bar.remaining or 0) / max(done - bar.fields["before"], 1)
            self.note(f"{task} {done}/{bar.total}, {_clock(left)} left{', ' + shown if shown else ''}")
            self._progress.update(bar.id, said=elapsed)

    def finish(self, task: str) -> None:
        """End a task."""
        self._progress.remove_task(self._tasks.pop(task).id)


def print_json(value: Any, indent: int | None = 1) -> None:  # noqa: ANN401 - anything that JSON holds
    """Print one JSON value to stdout, at once; without `indent` as a line of its own.

    Bytes of a file name that are no UTF-8 become escapes, which readers turn back into that name.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    print_line(text if can_show(text) else json.dumps(value, indent=indent))
    sys.stdout.flush()


def can_show(text: str) -> bool:
    """Whether stdout takes all characters of a text as they are."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def open_streams() -> None:
    """Let every character be printed, on an ASCII terminal as an escape; and let what was closed go nowhere.

    Else the next file that is opened would take the place of a closed stdout, and what is printed would end up there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_table(title: str, columns: list[str], rows: list[list[str]], footer: list[str] | None = None) -> None:
    """Print a table to stdout; numbers stand right, `footer` is the last row."""
    print_line(title)
    table = Table(show_footer=footer is not None)
    for i, column in enumerate(columns):
        last = footer[i] if footer else ""
        table.add_column(column, justify="left" if i == 0 else "right", footer=last, overflow="fold")  # never cut
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False, emoji=False).print(table)


def one_line(text: str) -> str:
    """Write out what names of files may hold and a terminal would obey: newlines, escapes, bytes that are no UTF-8.

    Of a line longer than any screen the middle is left out.
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def print_line(text: str) -> None:
    """Print a line to stdout."""
    sys.stdout.write(text + "\n")


def percent(value: float | None) -> str:
    """Show a share 0..1 as a percentage, and as `-` what is not there."""
    return "-" if value is None else f"{100 * value:.2f}"


def counted(number: int, thing: str) -> str:
    """Show how many there are of a thing, whose plural ends in s."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _shown(values: Mapping[str, float]) -> str:
    parts = []
    if "loss" in values:
        parts.append(f"loss {values['loss']:.3f}")
    if "pseudo_labels" in values and values.get("L_u"):
        parts.append(f"sure {100 * values['pseudo_labels']:.0f} %")
    if "images_per_second" in values:
        parts.append(f"{values['images_per_second']:.1f} images/s")
    return "  ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
