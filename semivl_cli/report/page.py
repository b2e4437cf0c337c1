"""Writes a run's report: one self-contained HTML page, and beside it the picture sheet that one opens first."""

from __future__ import annotations

import base64
import math
import shlex
from importlib import resources
from pathlib import Path

import jinja2

from semivl_cli.errors import RunError
from semivl_cli.files import write_bytes
from semivl_cli.palette import save_image
from semivl_cli.report.examples import examples_sheet
from semivl_cli.report.figures import class_bars, curves
from semivl_cli.report.run import Run, number, read_run


def write_report(run: Path) -> Path:
    """Write `report.html` and, if the run has examples, `examples.png` into the run directory `run`.

    Returns:
        The path of `report.html`.

    Raises:
        InputError: `run` is no run directory, or one of its files cannot be parsed.
        RunError: the disk is full or cannot be written.
    """
    content = read_run(run)
    page, sheet = run / "report.html", run / "examples.png"
    try:
        if content.examples:
            save_image(sheet, examples_sheet(content))
        text = _render(content, sheet.read_bytes() if content.examples else None)
        write_bytes(page, text.encode("utf-8", "backslashreplace"))  # ids may be names of files that are no UTF-8
    except OSError as error:
        raise RunError(
            f"cannot write {page} ({error.strerror or error}): the run itself is complete; make room, then semivl eval "
            f"{shlex.quote(str(run))} --report writes it"
        ) from error
    return page


def _render(run: Run, sheet: bytes | None) -> str:
    """Fill in the template `page.html`; `sheet` is the PNG of the examples."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, duration=duration, number=number)
    template = environment.from_string(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(
        run=run,
        name=run.path.resolve().name,
        sheet=base64.b64encode(sheet).decode("ascii") if sheet else None,
        bars=class_bars(run),
        curves=curves(run),
        shown=run.reported,
    )


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
