"""Reporter: what the engine speaks to; the console or a test listens, and the class itself does nothing."""

from __future__ import annotations

from collections.abc import Mapping


class Reporter:
    """What the engine has to say while it works."""

    def note(self, message: str) -> None:
        """Say one line that the user should know."""

    def start(self, task: str, total: int, done: int = 0) -> None:
        """Begin a task of `total` units, of which `done` are done already."""

    def advance(self, task: str, done: int, values: Mapping[str, float]) -> None:
        """Say that `done` units are done, with the newest values (`loss`, `images_per_second`)."""

    def finish(self, task: str) -> None:
        """End a task."""


class Silence(Reporter):
    """A reporter that nobody hears."""
