"""Reporter: the Protocol through which the engine speaks; the console or a test listens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Reporter(Protocol):
    """What the engine has to say while it works."""

    def note(self, message: str) -> None:
        """Say one line that the user should know."""

    def start(self, task: str, total: int, done: int = 0) -> None:
        """Begin a task of `total` units, of which `done` are done already."""

    def advance(self, task: str, done: int, values: Mapping[str, float]) -> None:
        """Say that `done` units are done, with the newest values (`loss`, `images_per_second`)."""

    def finish(self, task: str) -> None:
        """End a task."""


class Silence:
    """A reporter that nobody hears."""

    def note(self, message: str) -> None:
        """Drop the line."""

    def start(self, task: str, total: int, done: int = 0) -> None:
        """Begin nothing."""

    def advance(self, task: str, done: int, values: Mapping[str, float]) -> None:
        """Show nothing."""

    def finish(self, task: str) -> None:
        """End nothing."""
