"""Draws the charts of a run as SVG that follows the page's colours: curves over the steps, bars of IoU per class."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from semivl_cli.palette import Color
from semivl_cli.report.run import Run, number

# Okabe and Ito's colours, which colour-blind readers tell apart. Each chart colour is also a variable of the page's
# style sheet, so that one drawing serves light, dark and paper.
INK, QUIET, GRID = "#1b1f28", "#6b7281", "#dcdfe5"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#a3528a"
VARIABLES = {INK: "ink", QUIET: "quiet", GRID: "grid", BLUE: "blue", ORANGE: "orange", GREEN: "green", PURPLE: "purple"}

POINTS = 150  # of a drawn line; longer logs are averaged down to so many

_STYLE: dict[Any, Any] = {  # matplotlib types the keys only from 3.11 on
    "svg.fonttype": "none",  # text stays text: sharp, selectable, in the page's own font
    "svg.hashsalt": "semivl",  # the same run draws the same bytes
    "font.size": 10,
    "text.parse_math": False,  # a class may be called "$x$"
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": QUIET,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


class Series(NamedTuple):
    """One line of a chart: `variable` is its colour's name in the style sheet, `latest` its last value as text."""

    name: str
    variable: str
    latest: str


class Chart(NamedTuple):
    """A drawing with the words around it; `svg` is an `<svg>` element to be put into a page."""

    title: str
    explanation: str
    svg: str
    series: tuple[Series, ...] = ()


def curves(run: Run) -> tuple[Chart, ...]:
    """Draw the loss terms, mIoU, accepted pseudo-labels and lambda_DC over the steps, where they have values."""
    means = {"miou": "mIoU"}
    if any(None in line.get("iou", {}).values() for line in run.evals):
        means["miou_present"] = "mean over the classes that occur"
    charts = (
        _chart(
            "Loss terms",
            "How far the model is from its labels, from its own sure predictions and from the guidance.",
            run.train,
            {"L_s": "labelled images, L_s", "L_u": "consistency, L_u", "guidance": "guidance", "loss": "total loss"},
        ),
        _chart(
            "mIoU on the validation images",
            "Mean intersection over union of all classes, measured during training.",
            run.evals,
            means,
            percent=True,
        ),
        _chart(
            "Pixels that teach",
            "Share of unlabelled pixels whose pseudo-label, or whose guidance, is sure enough to be learned from.",
            run.train,
            {
                "pseudo_labels": "pseudo-labels accepted",
                "guidance_pixels": "guidance accepted",
                "pseudo_label_accuracy": "accepted pseudo-labels that are right",
            },
            percent=True,
        ),
        _chart(
            "Weight of the guidance",
            "lambda_DC: how much the frozen CLIP has to say.",
            run.train,
            {"lambda_DC": "lambda_DC"},
        ),
    )
    return tuple(chart for chart in charts if chart is not None)


def class_bars(run: Run) -> Chart | None:
    """Draw the IoU of each class as a bar in its colour, best class first; `None` for a run without scores."""
    score = run.reported
    if score is None:
        return None
    bars = [(score.iou.get(entry.name, math.nan), entry) for entry in run.definition.classes]
    # NaN last: such a class does not occur in the validation images.
    bars.sort(key=lambda bar: (math.isnan(bar[0]), -bar[0]))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 0.25 * len(bars) + 0.1))
        names = [shorten(entry.name, 22) for _, entry in bars]
        left = 0.03 + 0.0155 * max(map(len, names))
        axes = figure.add_axes((left, 0, 0.91 - left, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, 1), ylim=(len(bars) - 0.5, -0.6))
        rows = range(len(bars))
        axes.barh(rows, 1, height=0.62, color=GRID, alpha=0.5)
        # The edge shows a white or black class on a ground of its own colour.
        colors = [hexadecimal(entry.color) for _, entry in bars]
        lengths = np.nan_to_num([iou for iou, _ in bars])
        axes.barh(rows, lengths, height=0.62, color=colors, edgecolor=QUIET, linewidth=0.5)
        for row, name, (iou, _) in zip(rows, names, bars, strict=True):
            axes.text(-0.02, row, name, ha="right", va="center", color=INK)
            if math.isnan(iou):
                axes.text(0.01, row, "not in the validation images", va="center", color=QUIET, size=9)
            else:
                axes.text(1.02, row, f"{100 * iou:.1f}", va="center", color=INK, clip_on=False)
        if not math.isnan(score.miou):
            axes.axvline(score.miou, color=INK, linewidth=1, linestyle=(0, (2, 2)))
        absent = f"; what does not occur counts as 0: {score.without_absent}" if score.without_absent else ""
        return Chart(
            title="IoU per class",
            explanation=f"In %, best class first. The dotted line is their mean, the mIoU{absent}.",
            svg=_svg(figure, "IoU per class", (INK, QUIET, GRID)),
        )


def _chart(
    title: str, explanation: str, lines: Sequence[dict[str, object]], names: dict[str, str], *, percent: bool = False
) -> Chart | None:
    """Draw the values `names` (key of a metrics line -> what to call it) over the steps; `None` if there are none."""
    steps = np.array([number(line["step"]) for line in lines])
    drawn: list[Series] = []
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 2.7), layout="constrained")
        axes = figure.add_subplot()
        for (key, name), color in zip(names.items(), (BLUE, ORANGE, GREEN, PURPLE), strict=False):
            values = np.array([number(line.get(key)) for line in lines]) * (100 if percent else 1)
            known = ~np.isnan(values)
            if known.any():
                x, y = _thin(steps[known], values[known])
                axes.plot(x, y, color=color, marker="o" if len(x) <= 25 else "", markersize=3.5)
                latest = f"{values[known][-1]:.1f} %" if percent else f"{values[known][-1]:.3g}"
                drawn.append(Series(name=name, variable=VARIABLES[color], latest=latest))
        if not drawn:
            return None
        axes.set_xlim(0, max(steps[-1], 1))
        axes.set_ylim(bottom=0, top=min(axes.get_ylim()[1], 100) if percent else None)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}".replace(",", "\u202f"))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        if percent:
            axes.yaxis.set_major_formatter(lambda share, _: f"{share:g} %")
        axes.set_xlabel("step", color=QUIET, loc="right")
        return Chart(
            title=title, explanation=explanation, series=tuple(drawn), svg=_svg(figure, title, tuple(VARIABLES))
        )


def _thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average neighbours until at most `POINTS` remain: the page stays small, and the noise of single steps quiet."""
    parts = min(POINTS, len(x))
    starts = np.arange(parts) * len(x) // parts
    counts = np.diff(starts, append=len(x))
    return np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts


def hexadecimal(color: Color) -> str:
    """Write a colour as matplotlib and style sheets read it: `#rrggbb`."""
    return f"#{bytes(color).hex()}"


def shorten(text: str, length: int) -> str:
    """Put `text` on one line and cut it with an ellipsis where it has more than `length` letters.

    Bytes of a file name that are no UTF-8 are written out: no font has them.
    """
    text = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def _svg(figure: Figure, label: str, chart_colors: Sequence[str]) -> str:
    """Save as an SVG element in which `chart_colors`, not the classes' own, follow the page's style sheet."""
    data = io.StringIO()
    with warnings.catch_warnings():
        # The browser draws the text: that matplotlib's own font lacks a class name's script does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(
            data, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    svg = data.getvalue()
    svg = svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    for color in chart_colors:
        svg = svg.replace(color, f"var(--{VARIABLES[color]}, {color})")
    return svg
