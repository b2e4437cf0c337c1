"""Which step of a run counts as its result, and on which images it was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from semivl_cli.engine.infer.validation import Scores

Rule = Literal["last", "best", "held-out"]


class Selection:
    """Remembers the last and the best evaluation, and names the step that the rule picks."""

    def __init__(self, rule: Rule, kept: Mapping[str, Any] | None = None) -> None:
        kept = kept or {}
        self.rule = rule
        self.last: dict[str, Any] = kept.get("last") or {}
        self.best: dict[str, Any] = kept.get("best") or {}
        self.result: dict[str, Any] = kept.get("result") or {}

    @property
    def images(self) -> str:
        """On which images every evaluation during the training is made."""
        return "held-out" if self.rule == "held-out" else "val"

    @property
    def step(self) -> int | None:
        """The step that counts so far; `None` before the first evaluation."""
        step: int | None = (self.last if self.rule == "last" else self.best).get("step")
        return step

    def add(self, scores: Scores) -> None:
        """Take the scores of a newer step; the earlier of two equal ones stays the best."""
        self.last = {**scores.as_dict(), "on": self.images}
        if not self.best or scores.miou > self.best["miou"]:
            self.best = {**self.last, "selected_on": self.images}
        if self.rule == "last":
            self.result = self.last
        elif self.rule == "best":
            self.result = self.best

    def look_at_val(self, scores: Scores) -> None:
        """Take the one look at the validation images that `held-out` allows, at its end."""
        self.result = {**scores.as_dict(), "on": "val", "selected_on": "held-out"}

    def as_dict(self) -> dict[str, Any]:
        """Return the object that `scores.json` holds."""
        return {"select": self.rule, "last": self.last, "best": self.best, "result": self.result}
