"""Ctrl-C, SIGTERM, a closed terminal: a wish that a loop grants between two steps; the second Ctrl-C is not asked."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
from types import FrameType
from typing import Any


class StopWish:
    """While open, `signal_number` says which signal asked to stop; `None`: go on."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopWish:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # Windows knows no SIGHUP
                if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # as nohup leaves SIGHUP
                    self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _: FrameType | None) -> None:
        leave_closed_terminal()
        if self.signal_number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = number


def leave_closed_terminal() -> None:
    """Let what is said go nowhere once the terminal is closed: to write there is an error, after SIGHUP."""
    for number in (1, 2):
        with contextlib.suppress(OSError):  # closed itself: nobody writes to it
            # A terminal that is gone is still a device, but no terminal any more.
            if stat.S_ISCHR(os.fstat(number).st_mode) and not os.isatty(number):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)
