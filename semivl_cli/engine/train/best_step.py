"""Which step of a run counts as its result, and on which images it was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from semivl_cli.engine.infer.measure import Scores
from semivl_cli.engine.infer.predictor import described
from semivl_cli.engine.rundir.layout import SCORES, read_json

Rule = Literal["last", "best", "held-out"]


class Selection:
    """Remembers the last and the best evaluation, and names the step that the rule picks."""

    def __init__(self, rule: Rule, saved: Mapping[str, Any] | None = None) -> None:
        saved = saved or {}
        self.rule = rule
        self.last: dict[str, Any] = saved.get("last") or {}
        self.best: dict[str, Any] = saved.get("best") or {}
        self.result: dict[str, Any] = saved.get("result") or {}

    @property
    def step(self) -> int | None:
        """The step that counts so far; `None` before the first evaluation."""
        step: int | None = (self.last if self.rule == "last" else self.best).get("step")
        return step

    def add(self, scores: Scores) -> None:
        """Take the scores of a newer step; the earlier of two equal ones stays the best."""
        images = "held-out" if self.rule == "held-out" else "val"
        self.last = {**scores.as_dict(), "on": images}
        if not self.best or scores.miou > self.best["miou"]:
            self.best = {**self.last, "selected_on": images}
        if self.rule != "held-out":
            self.result = self.last if self.rule == "last" else self.best

    def add_val(self, scores: Scores) -> None:
        """Take the one look at the validation images that `held-out` allows, at its end."""
        self.result = {**scores.as_dict(), "on": "val", "selected_on": "held-out"}

    def as_dict(self) -> dict[str, Any]:
        """Return the object that `scores.json` holds."""
        return {"select": self.rule, "last": self.last, "best": self.best, "result": self.result}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a training leaves behind."""

    run: Path
    selected: str
    """Why the result's step was taken: `best on val`, `last`."""
    result: Scores
    last: Scores
    best: Scores
    stop: int | None = None
    """The signal that asked to stop when nothing was left to do; several trainings end there."""


def read_result(run: Path) -> Result:
    """Read the result of a run that is finished."""
    return result_of(run, read_json(run / SCORES))


def result_of(run: Path, saved: Mapping[str, Any]) -> Result:
    """Return the result of a run from the object that its `scores.json` holds."""
    last, best = Scores.of(saved["last"]), Scores.of(saved["best"])
    result = Scores.of(saved["result"]) if saved.get("result") else best  # of an earlier version
    selected = described(saved.get("select", "best"), result.step, best.step)
    return Result(run=run, selected=selected, result=result, last=last, best=best)
