"""The few errors that end a command, each of which knows its exit code; and how messages list many words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class SemiVLError(Exception):
    """Base of all errors that are shown as one line, without a traceback."""

    exit_code = 2


class InputError(SemiVLError):
    """The user's mistake or an unreadable file: says what was given, what was expected, what to do."""


class CheckFailed(SemiVLError):
    """A check did its work and found something; what it found has been shown."""

    exit_code = 1


class RunError(SemiVLError):
    """The run could not go on (full disk, out of memory, loss not finite); its state is kept."""

    exit_code = 3


class Interrupted(SemiVLError):
    """Stopped by Ctrl-C (130) or SIGTERM (143) after the state was saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


@contextmanager
def within(place: str) -> Iterator[None]:
    """Begin what an `InputError` says with the place that it is about, such as `a.json: shape 3 (car)`."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def first_line(error: BaseException) -> str:
    """Return what an exception of a library says, in one line: the first, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def listed(words: Sequence[str], most: int = 30) -> str:
    """Return words as messages list them: of too many the first, and the last."""
    shown = ", ".join(words[:most])
    return f"{shown}, ... {words[-1]}" if len(words) > most else shown
