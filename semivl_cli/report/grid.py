"""A sheet of pictures in rows and columns, laid out and written by matplotlib: pixels stay pixels, names stay names."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patches import Patch
from matplotlib.transforms import offset_copy
from numpy.typing import NDArray
from PIL import Image

from semivl_cli.palette import Color
from semivl_cli.report.figures import INK, QUIET, hexadecimal, shorten

GAP = 14  # pixels between columns
MARGIN = 30  # pixels around the sheet
DPI = 100
LETTER = 8.5  # pixels that a letter takes, about

_STYLE: dict[Any, Any] = {  # matplotlib types the keys only from 3.11 on
    "font.size": 10,
    "text.parse_math": False,  # a class may be called "$x$"
    "text.color": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 14,
    "image.interpolation": "nearest",
}


@contextmanager
def style() -> Iterator[None]:
    """Surround everything that makes or writes a sheet: its look, and silence about letters that the font lacks."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # whatever a matplotlibrc of the user says
        mpl.rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box stands for the letter
        yield


def blank(widths: Sequence[float], heights: Sequence[float], gap: float) -> tuple[Figure, GridSpec]:
    """Make an empty sheet of cells of `widths` and `heights`; `gap` lies between rows. All in pixels."""
    width, height = sum(widths) + GAP * (len(widths) - 1), sum(heights) + gap * (len(heights) - 1)
    figure = Figure((width / DPI, height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)  # which can measure a text before it is drawn
    grid = figure.add_gridspec(
        len(heights),
        len(widths),
        width_ratios=widths,
        height_ratios=heights,
        wspace=GAP / float(np.mean(widths)),
        hspace=gap / float(np.mean(heights)),
        **{"left": 0, "right": 1, "bottom": 0, "top": 1},
    )
    return figure, grid


def show(axes: Axes, pixels: NDArray[Any], title: str = "", explanation: str = "", caption: str = "") -> None:
    """Show `pixels` in the upper left of a cell, as large as fits."""
    axes.imshow(pixels, vmin=0, vmax=1, cmap="viridis")
    axes.set_axis_off()
    axes.set_anchor("NW")
    axes.set_title(title, pad=22)
    axes.annotate(explanation, (0, 1), (0, 7), "axes fraction", "offset points", color=QUIET)
    axes.annotate(caption, (0, 0), (0, -7), "axes fraction", "offset points", va="top")


def head(figure: Figure, title: str, facts: str, classes: Sequence[tuple[str, Color]], width: float) -> None:
    """Write title, facts and a legend of `classes`, in lines of `width` pixels, above the first picture of a sheet."""
    axes = figure.axes[0]
    names = [shorten(name, 40) for name, _ in classes]
    swatches = [
        Patch(facecolor=hexadecimal(color), edgecolor=QUIET, linewidth=0.5, label=name or " ")
        for name, (_, color) in zip(names, classes, strict=True)
    ]
    entry = LETTER * max(map(len, names), default=0) + 50
    legend = axes.legend(
        handles=swatches,
        ncols=max(1, int(width / entry)),
        title=shorten(facts, int(width / LETTER)),
        alignment="left",
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        bbox_transform=offset_copy(axes.transAxes, figure, y=48, units="points"),
        borderpad=0,
        borderaxespad=0,
        handlelength=1,
        handleheight=1,
    )
    legend.get_title().set_color(QUIET)
    large = 20
    title = shorten(title, int(width / LETTER * 10 / large))
    axes.annotate(title, (0, 1), (0, 8), legend, "offset points", size=large)


def pixels_of(figure: Figure) -> NDArray[np.uint8]:
    """Draw a sheet -> uint8 RGB `[height, width, 3]`, cut out around whatever is drawn."""
    data = io.BytesIO()
    figure.savefig(data, format="png", bbox_inches="tight", pad_inches=MARGIN / DPI, pil_kwargs={"compress_level": 1})
    with Image.open(data) as picture:
        return np.asarray(picture.convert("RGB"))


def fit(pixels: NDArray[np.uint8], resampling: Image.Resampling, longest: int) -> NDArray[np.uint8]:
    """Enlarge by a whole factor without inventing pixels, or reduce, until the longer side fills `longest` pixels."""
    factor = longest // max(pixels.shape[:2])
    if factor >= 1:
        return pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    picture = Image.fromarray(pixels)
    picture.thumbnail((longest, longest), resampling)
    return np.asarray(picture)


def fade(scene: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn `scene` into a pale grey of itself, over which the class colours look like those of the legend."""
    grey = Image.fromarray(scene).convert("L").convert("RGB")
    return np.asarray(Image.blend(grey, Image.new("RGB", grey.size, "white"), 0.5))
