"""Writes a run's report: one self-contained HTML page, and beside it the picture sheet that one opens first."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2

from semivl_cli.errors import RunError
from semivl_cli.files import write_bytes
from semivl_cli.paint import save_image
from semivl_cli.report.examples import examples_sheet
from semivl_cli.report.figures import class_bars, curves
from semivl_cli.report.run import Run, Score, number, read_run, reported

FACTS = {
    "dataset": "dataset",
    "method": "method",
    "fidelity": "fidelity",
    "labels": "data.labels",
    "seed": "seed",
    "weights": "model.weights",
}
"""What the page's head says, and the setting that tells it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """A headline number: what it is, the number, and a few words on it."""

    name: str
    value: str
    note: str


def write_report(run: Path) -> Path:
    """Write `report.html` and, if the run has examples, `examples.png` into the run directory `run`.

    Returns:
        The path of `report.html`.

    Raises:
        InputError: `run` is no run directory, or one of its files cannot be parsed.
        RunError: the disk is full or cannot be written.
    """
    content = read_run(run)
    try:
        return _write(content)
    except OSError as error:
        raise RunError(
            f"cannot write {run / 'report.html'} ({error.strerror or error}): the run itself is complete; make room, "
            f"then semivl eval {run} --report writes it"
        ) from error


def _write(content: Run) -> Path:
    run = content.path
    sheet = None
    if content.examples:
        save_image(run / "examples.png", examples_sheet(content))
        sheet = base64.b64encode((run / "examples.png").read_bytes()).decode("ascii")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = percent
    template = environment.from_string(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    page = template.render(
        run=content,
        name=run.resolve().name,
        state=_state(content),
        facts=[(name, value) for name, key in FACTS.items() if (value := content.settings.get(key)) is not None],
        tiles=_tiles(content),
        sheet=sheet,
        bars=class_bars(content),
        curves=curves(content),
        last=_iou(content, reported(content)),
        names=("val", "held-out, best") if content.last and content.last.on == "held-out" else ("last", "best"),
        best=_iou(content, content.best),
    )
    report = run / "report.html"
    write_bytes(report, page.encode("utf-8"))
    return report


def percent(share: float) -> str:
    """Write a share 0..1 as the number of percent with one decimal; a dash where there is none."""
    return "\N{EN DASH}" if math.isnan(share) else f"{100 * share:.1f}"


def duration(seconds: float) -> str:
    """Write `seconds` with its two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _state(run: Run) -> str:
    if run.finished:
        return f"finished after {run.last_step} steps"
    return f"not finished: saved at step {run.last_step}" if run.last_step is not None else "no checkpoint yet"


def _tiles(run: Run) -> list[Tile]:
    tiles = []
    where = " on held-out labels" if run.last and run.last.on == "held-out" else ""
    if where and run.result:
        tiles.append(
            Tile(name="mIoU", value=f"{percent(run.result.miou)} %", note=f"step {run.result.step}, looked at once")
        )
    if run.last:
        tiles.append(Tile(name=f"mIoU, last{where}", value=f"{percent(run.last.miou)} %", note=f"step {run.last.step}"))
    if run.best:
        chosen = f", selected on {run.best.selected_on}" if run.best.selected_on else ""
        tiles.append(
            Tile(name=f"mIoU, best{where}", value=f"{percent(run.best.miou)} %", note=f"step {run.best.step}{chosen}")
        )
    if run.split:
        tiles.append(Tile(name="Labelled", value=str(len(run.split.labeled)), note="images with a mask"))
        tiles.append(Tile(name="Unlabelled", value=str(run.split.unlabeled), note="images, no mask used"))
        tiles.append(Tile(name="Validation", value=str(run.split.val), note="images, never trained on"))
    if run.last_step is not None:
        steps = run.settings.get("training.steps")
        planned = f"of {steps}" if isinstance(steps, int) else ""  # "none" where the length is given in epochs
        tiles.append(Tile(name="Steps", value=str(run.last_step), note=planned))
    if run.train:
        latest = run.train[-1]
        speed, seconds = number(latest.get("images_per_second")), number(latest.get("seconds"))
        pace = "" if math.isnan(speed) else f"{speed:.3g}"
        if not math.isnan(seconds):
            tiles.append(Tile(name="Time", value=duration(seconds), note=f"{pace} images/s" if pace else ""))
        elif pace:
            tiles.append(Tile(name="Speed", value=pace, note="images per second"))
    return tiles


def _iou(run: Run, score: Score | None) -> list[float]:
    """List the IoU of each class in the definition's order; NaN where there is none."""
    return [score.iou.get(entry.name, math.nan) if score else math.nan for entry in run.classes]
