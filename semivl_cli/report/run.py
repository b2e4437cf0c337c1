"""Reads a run directory into plain values; whatever a young run has not written yet is absent or empty."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator

from semivl_cli.concepts.load import load_definition
from semivl_cli.concepts.schema import Definition
from semivl_cli.errors import InputError
from semivl_cli.settings_toml import read_toml


def number(value: object) -> float:
    """Return `value` as a float; whatever is no finite number (null, NaN, a missing key's `None`) becomes NaN."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan


Number = Annotated[float, BeforeValidator(number)]


class Score(BaseModel):
    """IoU of one checkpoint, 0..1; NaN where a class does not occur or a number is missing."""

    step: int
    miou: Number
    """Mean over all classes; one that does not occur counts as 0."""
    miou_present: Number = math.nan
    """Mean over the classes that occur; NaN also where an earlier version counted."""
    iou: dict[str, Number]
    selected_on: str | None = None
    on: str = "val"
    """Images that were scored: `val`, or `held-out` labels."""

    @property
    def present(self) -> int:
        """How many classes occur."""
        return sum(not math.isnan(value) for value in self.iou.values())

    @property
    def without_absent(self) -> str:
        """The mean over the classes that occur, in words; nothing where all do."""
        if self.present == len(self.iou) or math.isnan(self.miou_present):
            return ""
        return f"{100 * self.miou_present:.1f} % over the {self.present} of {len(self.iou)} classes that occur"


class Example(NamedTuple):
    """The pictures of one validation image; all but `image` are palette PNGs of class ids."""

    id: str
    files: dict[str, Path]
    """`image`, `label`, `prediction` and, where the run had any, `guidance`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Everything that the report shows.

    `settings` maps dotted keys (`"training.steps"`) to values; `train` and `evals` are lines of `metrics.jsonl`,
    ordered by step, one a step (a resumed run repeats some: the later line counts).
    """

    path: Path
    definition: Definition
    settings: dict[str, object]
    split: dict[str, Any]
    """Content of `split.json`; empty where there is none yet."""
    last_step: int | None
    finished: bool
    last: Score | None
    best: Score | None
    result: Score | None
    """What the run stands for."""
    train: tuple[dict[str, Any], ...]
    evals: tuple[dict[str, Any], ...]
    alarms: tuple[str, ...]
    """What the training noticed and said, in its order."""
    examples: tuple[Example, ...]

    @property
    def reported(self) -> Score | None:
        """The scores on the validation images: of the step chosen on held-out labels, else of the last."""
        return self.result if self.last is not None and self.last.on == "held-out" else self.last


def read_run(path: Path) -> Run:
    """Read the run directory `path`.

    Raises:
        InputError: `path` is no run directory, or one of its files cannot be parsed.
    """
    for name in ("run.toml", "definition.toml"):
        if not (path / name).is_file():
            raise InputError(
                f"{path} is no run directory: {name} is missing; give a directory that `semivl train` wrote."
            )
    split, state, scored = (_json(path / name) for name in ("split.json", "run.json", "scores.json"))
    scores = {name: Score.model_validate(scored[name]) for name in ("last", "best", "result") if scored.get(name)}
    lines = _lines(path / "metrics.jsonl")
    return Run(
        path=path,
        definition=load_definition(path / "definition.toml"),
        settings=_flatten(read_toml(path / "run.toml")),
        split=split,
        last_step=state.get("last"),
        finished=state.get("finished", False),
        last=scores.get("last"),
        best=scores.get("best"),
        result=scores.get("result"),
        train=_by_step(lines, "train"),
        evals=_by_step(lines, "eval"),
        alarms=tuple(line["says"] for line in lines if line["kind"] == "alarm"),
        examples=_examples(path / "examples"),
    )


def _json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a file that is not there yet is an empty one."""
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise InputError(f"{path} is not readable JSON: {error}") from error
    return content


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    texts = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    for line_number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            lines.append(json.loads(text))
        except ValueError as error:
            if line_number == len(texts):
                break  # no newline after it: this line is still being written, or its writer was killed
            raise InputError(f"{path}, line {line_number}, is not readable JSON: {error}") from error
    return lines


def _by_step(lines: list[dict[str, Any]], kind: str) -> tuple[dict[str, Any], ...]:
    latest = {line["step"]: line for line in lines if line["kind"] == kind}
    return tuple(latest[step] for step in sorted(latest))


def _flatten(table: dict[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in table.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _examples(folder: Path) -> tuple[Example, ...]:
    """List the folders `<k>-<id>` by `k`."""
    folders = [(match, path) for path in folder.glob("*") if (match := re.match(r"(\d+)-(.*)", path.name))]
    return tuple(
        Example(id=match[2], files={file.stem: file for file in path.glob("*.png")})
        for match, path in sorted(folders, key=lambda found: (int(found[0][1]), found[0][2]))
    )
