"""Reads a run directory into plain values; whatever a young run has not written yet is absent or empty."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from semivl_cli.concepts.load import load_definition
from semivl_cli.concepts.schema import Definition
from semivl_cli.documents import read_bytes
from semivl_cli.errors import InputError
from semivl_cli.run_files import Line, Scores, Split, Status, read, read_line, read_split
from semivl_cli.run_files import Score as SavedScore
from semivl_cli.settings_toml import read_toml


def number(value: object) -> float:
    """Return `value` as a float; whatever is no finite number (null, NaN, a missing key's `None`) becomes NaN."""
    return float(value) if isinstance(value, int | float) and abs(value) <= sys.float_info.max else math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """IoU of one checkpoint, 0..1; NaN where a class does not occur."""

    step: int
    miou: float
    """Mean over all classes; one that does not occur counts as 0."""
    miou_present: float
    """Mean over the classes that occur; NaN also where an earlier version counted."""
    iou: dict[str, float]
    selected_on: str | None = None
    on: str = "val"
    """Images that were scored: `val`, or `held-out` labels."""

    @staticmethod
    def of(saved: SavedScore | None) -> Score | None:
        """Return what `scores.json` holds under one of its keys."""
        if saved is None:
            return None
        iou = {name: number(value) for name, value in saved.iou.items()}
        return Score(
            step=saved.step,
            miou=saved.miou,
            miou_present=number(saved.miou_present),
            iou=iou,
            selected_on=saved.selected_on,
            on=saved.on,
        )

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
    split: Split | None
    """`None` where there is none yet."""
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
    status, scores = read(path / "run.json", Status) or Status(), read(path / "scores.json", Scores) or Scores()
    lines = _lines(path / "metrics.jsonl")
    return Run(
        path=path,
        definition=load_definition(path / "definition.toml"),
        settings=_flatten(read_toml(path / "run.toml")),
        split=read_split(path),
        last_step=status.last,
        finished=status.finished,
        last=Score.of(scores.last),
        best=Score.of(scores.best),
        result=Score.of(scores.result),
        train=_by_step(lines, "train"),
        evals=_by_step(lines, "eval"),
        alarms=tuple(line.says for line in lines if line.kind == "alarm" and line.says is not None),
        examples=_examples(path / "examples"),
    )


def _lines(path: Path) -> list[Line]:
    lines = []
    texts = read_bytes(path).split(b"\n") if path.exists() else []
    for line_number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            lines.append(read_line(text, f"{path}, line {line_number}"))
        except InputError as error:
            if line_number == len(texts):
                break  # no newline after it: this line is still being written, or its writer was killed
            raise InputError(f"{error}: the file is damaged; take that line out, then the report is written") from error
    return lines


def _by_step(lines: list[Line], kind: str) -> tuple[dict[str, Any], ...]:
    latest = {line.step: {**(line.model_extra or {}), "step": line.step} for line in lines if line.kind == kind}
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
