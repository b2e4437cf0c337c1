"""Says how far a long task is: one line every ten seconds, however often it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable

from semivl_cli.data.contract import Say

SECONDS = 10.0
"""Time between two lines."""


class Pace:
    """Turns many small steps into few lines."""

    def __init__(self, report: Say, task: str) -> None:
        """Report lines that begin with `task`, what is being done."""
        self._report, self._task = report, task
        self._began = self._said = time.monotonic()

    def step(self, done: int, total: int | None, shown: Callable[[int], str] = str, begun_at: int = 0) -> None:
        """Say `done` of `total` units, if it is time for a line.

        Args:
            done: units done, those of an earlier process included.
            total: all units; `None` where nobody knows.
            shown: writes a number of units.
            begun_at: units that were done before this process began.
        """
        now = time.monotonic()
        if now - self._said < SECONDS:
            return
        self._said = now
        if total is None:
            self._report(f"{self._task}: {shown(done)}")
            return
        left = (now - self._began) * (total - done) / max(done - begun_at, 1)
        minutes, seconds = divmod(round(left), 60)
        self._report(f"{self._task}: {shown(done)} of {shown(total)}, {minutes}:{seconds:02d} left")


def in_bytes(count: int) -> str:
    """Write a number of bytes for people: `17.9 GiB`."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
