"""What the small files of a run hold, and the one way in which the engine and the report read them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, InstanceOf

from semivl_cli.documents import Document, parse_json, read_json
from semivl_cli.errors import InputError

D = TypeVar("D", bound=Document)

Rule = Literal["last", "best", "held-out"]
"""Which step of a run is its result: `training.select`."""
Step = Annotated[int, Field(ge=0, le=2**53)]


def _share(value: float) -> float:
    if not (0 <= value <= 1 or math.isnan(value)):
        raise ValueError(f"expected a share from 0 to 1, got {value:g}")
    return value


Share = Annotated[float, Field(allow_inf_nan=True), AfterValidator(_share)]
"""0..1; NaN where nothing was counted."""
Name = InstanceOf[str]
"""An id, or the name of a file, which need not be UTF-8."""
OrEmpty = BeforeValidator(lambda value: None if value == {} else value)
"""What is not there yet is written as `{}`."""


class Score(Document):
    """IoU of one step on all images, 0..1."""

    step: Step
    miou: Share
    miou_present: Share | None = None
    iou: dict[str, Share | None]
    """Of a class that cannot be scored `None`."""
    pixels: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    images: Annotated[int, Field(ge=0)] = 0
    on: str = "val"
    """Images that were scored: `val`, or `held-out` labels."""
    selected_on: str | None = None


class Scores(Document):
    """`scores.json`."""

    select: Rule = "best"
    last: Annotated[Score | None, OrEmpty] = None
    best: Annotated[Score | None, OrEmpty] = None
    result: Annotated[Score | None, OrEmpty] = None
    """What the run stands for; versions before this key took the best."""


class Status(Document):
    """`run.json`: where the training stands."""

    last: Step | None = None
    best: Step | None = None
    select: Rule = "best"
    finished: bool = False
    steps: Step | None = None


class Unlabeled(Document):
    """The unlabelled images of `split.json`: their number, and the hash of their ids."""

    count: Annotated[int, Field(ge=0)]
    sha256: str
    ids: list[Name] | None = None
    """Of the dataset's own, in their order; `None` where they are very many, and in runs of earlier versions."""
    added: list[Name] | None = None
    """Paths of files of `data.unlabeled`, in their order, where these are not very many."""


class Split(Document):
    """`split.json`: ids of images by what they are for."""

    labeled: Annotated[list[Name], Field(min_length=1)]
    unlabeled: Unlabeled
    val: list[Name]
    held_out: list[Name] = Field(default_factory=list)
    sha256: str


class Summary(Document):
    """`seeds.json`: makes a directory one of several runs; `runs` is there once all are done."""

    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    runs: list[dict[str, object]] | None = None


class Watch(Document):
    """What `Alarms` has seen so far."""

    said: list[str] = Field(default_factory=list)
    ignored: Annotated[int, Field(ge=0)] = 0
    since: dict[str, Step] = Field(default_factory=dict)
    accepted: float = 0.0


class Progress(Scores):
    """What of a training's progress stands beside its weights, `state.json`, and `scores.json` after an evaluation."""

    seconds: float = 0.0
    clip_sha256: str | None = None
    micro_batch: Annotated[int, Field(ge=1)] | None = None
    unlogged: list[dict[str, float]] = Field(default_factory=list)
    watch: Watch = Watch()
    passed_over: Annotated[int, Field(ge=0)] = 0


class Seal(Document):
    """`done.json`, the last file of a checkpoint; versions before kept no hashes."""

    sha256: dict[str, str] = Field(default_factory=dict)


class Line(Document):
    """A line of `metrics.jsonl`; what was measured stands beside these keys."""

    model_config = ConfigDict(extra="allow")

    step: Step
    kind: str
    """`train` (means over some steps), `eval` (scores), `alarm` (something noticed, in words)."""
    found: str | None = None
    """Of an alarm: where it was noticed."""
    says: str | None = None


def read(path: Path, expected: type[D], advice: str = "delete it, the checkpoints are not touched") -> D | None:
    """Read a small file of a run; `None` where it is not there yet.

    Raises:
        InputError: it is damaged; ends with the advice.
    """
    try:
        return read_json(path, expected)
    except InputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise InputError(f"{error}: the file is damaged; {advice}") from error


def read_split(run: Path) -> Split | None:
    """Read `split.json` of a run; `None` where there is none, as in an imported one."""
    return read(run / "split.json", Split, "put the file back that semivl train wrote")


def read_line(text: str | bytes, name: str) -> Line:
    """Read a line of `metrics.jsonl`; raises `InputError` where it is none, such as one cut off."""
    return parse_json(text, Line, name)
