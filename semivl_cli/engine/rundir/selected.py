"""Says in words why a step of a run is its result."""

from __future__ import annotations

from typing import Literal

Rule = Literal["last", "best", "held-out"]
"""`training.select`."""


def why_selected(rule: Rule, step: int, best: int | None) -> str:
    """Return `last`, `best on val` or `best on held-out labels`."""
    if rule == "last" or step != best:
        return "last"
    return "best on held-out labels" if rule == "held-out" else "best on val"
