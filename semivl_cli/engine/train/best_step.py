"""Which step of a run counts as its result, and on which images it was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semivl_cli import run_files
from semivl_cli.documents import as_type, read_json
from semivl_cli.engine.infer.measure import Scores
from semivl_cli.engine.infer.predictor import described
from semivl_cli.engine.rundir.layout import SCORES
from semivl_cli.run_files import Rule


class Selection:
    """Remembers the last and the best evaluation, and names the step that the rule picks."""

    def __init__(self, rule: Rule, saved: run_files.Scores | None = None) -> None:
        saved = saved or run_files.Scores()
        self.rule = rule
        self.last, self.best, self.result = (
            {} if score is None else score.model_dump(exclude_unset=True)
            for score in (saved.last, saved.best, saved.result)
        )

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

    def saved(self) -> run_files.Scores:
        """Return it as it is read again."""
        return as_type(self.as_dict(), run_files.Scores, SCORES)


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
    return result_of(run, read_json(run / SCORES, run_files.Scores))


def result_of(run: Path, saved: run_files.Scores) -> Result:
    """Return the result of a run, which was scored, from what its `scores.json` holds."""
    assert saved.last is not None and saved.best is not None, "it was scored"
    kept = (saved.last, saved.best, saved.result or saved.best)  # an earlier version had no result
    last, best, result = (Scores.of(score.model_dump()) for score in kept)
    selected = described(saved.select, result.step, best.step)
    return Result(run=run, selected=selected, result=result, last=last, best=best)
