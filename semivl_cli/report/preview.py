"""Draws what the frozen CLIP sees for a definition: scene, classes, confidence, guidance, words on their regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from semivl_cli.class_ids import IGNORE
from semivl_cli.errors import RunError
from semivl_cli.paint import INK, PAPER, Color, fit_text, overlay, save_image
from semivl_cli.report.sheet import GAP, MARGIN, QUIET, canvas, fade, fit

CELL = 330  # pixels of a small picture's longer side; the large one is twice as long
TITLE = 52
ROWS = 24
LINE = 30
OPACITY = 0.75
LEAST = 0.0005  # share of the pixels that would be written as 0.0
BAR = 120  # pixels of the scale of confidence
NARROWEST = 220  # pixels of a column, so that its caption can be read


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What is drawn; maps are `[H, W]` at the size of `scene`."""

    title: str
    facts: str
    """One line: definition, CLIP, image."""
    scene: NDArray[np.uint8]
    """RGB `[H, W, 3]`."""
    classes: Sequence[tuple[str, Color]]
    """Name and colour by class id."""
    ids: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    zeta: float
    winners: NDArray[np.intp]
    """A number for the text that wins each pixel."""
    labels: Sequence[tuple[int, int, str]]
    """Row, column and words to write there, the most important first."""
    shares: Sequence[tuple[int, float, float, Sequence[tuple[str, float]]]]
    """Class id, share of the pixels, share that is sure, and words with theirs, 0..1, in the order of the legend."""


def save_preview(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write the picture as PNG; its folder is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_image(path, picture)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def draw_preview(preview: Preview) -> NDArray[np.uint8]:
    """Draw one image's preview -> uint8 RGB `[height, width, 3]`; very small images are enlarged pixel by pixel."""
    body = _maps(preview)
    bands = [_heading(preview, body.width), body, _legend(preview, body.width)]
    return np.concatenate([np.asarray(band) for band in bands])


def _maps(preview: Preview) -> Image.Image:
    """Draw four small pictures, two by two, and the words at twice their size beside them."""
    colors = [color for _, color in preview.classes]
    scene = _fit(preview.scene, Image.Resampling.LANCZOS, CELL)
    faded = fade(scene)
    sure = np.where(preview.confidence >= preview.zeta, preview.ids, IGNORE).astype(np.uint8)
    certain = f"{100 * np.mean(sure != IGNORE):.1f} % of the pixels would guide"
    size = f"{preview.scene.shape[1]} x {preview.scene.shape[0]} pixels"
    small = (
        ("Image", size, scene),
        ("Classes", "the most probable of each pixel", _painted(faded, preview.ids, colors)),
        ("Confidence", "", _fit(_heat(preview.confidence), Image.Resampling.BILINEAR, CELL)),
        (f"Sure: {preview.zeta:g} or more", certain, _painted(faded, sure, colors)),
    )
    words = _words(preview, colors)
    height, width = len(scene), max(scene.shape[1], NARROWEST)
    left = MARGIN + 2 * width + 3 * GAP
    body, draw = canvas(
        left + max(words.width, NARROWEST) + MARGIN, TITLE + max(height + GAP + TITLE + height, words.height)
    )
    for index, (name, explanation, pixels) in enumerate(small):
        x, y = MARGIN + index % 2 * (width + GAP), index // 2 * (TITLE + height + GAP)
        _caption(draw, (x, y), name, explanation, width)
        body.paste(Image.fromarray(pixels), (x, y + TITLE))
        if name == "Confidence":
            _scale(body, (x, y), preview.zeta)
    _caption(draw, (left, 0), "Words", "the concept that wins, on its region", max(words.width, NARROWEST))
    body.paste(words, (left, TITLE))
    return body


def _painted(faded: NDArray[np.uint8], ids: NDArray[np.uint8], colors: Sequence[Color]) -> NDArray[np.uint8]:
    return overlay(faded, _fit(ids, Image.Resampling.NEAREST, CELL), colors, OPACITY)


def _fit(pixels: NDArray[np.uint8], resampling: Image.Resampling, cell: int) -> NDArray[np.uint8]:
    """Make the longer side `cell` pixels; very small pictures keep square pixels, as in the sheet of a run."""
    height, width = pixels.shape[:2]
    factor = cell / max(height, width)
    if factor >= 2:
        return fit(pixels, resampling, cell)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(pixels).resize(size, resampling))


def _heat(confidence: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Paint 0..1 `[H, W]` -> uint8 `[H, W, 3]`, dark to bright."""
    painted: NDArray[np.uint8] = mpl.colormaps["viridis"](confidence.clip(0, 1), bytes=True)[..., :3]
    return np.ascontiguousarray(painted)


def _scale(body: Image.Image, place: tuple[int, int], zeta: float) -> None:
    """Draw the scale of confidence in the second line of a caption, with a mark at zeta."""
    draw, font = ImageDraw.Draw(body), ImageFont.load_default(15)
    x, y = place[0] + 14, place[1] + 33
    ramp = _heat(np.tile(np.linspace(0, 1, BAR, dtype=np.float32), (11, 1)))
    body.paste(Image.fromarray(ramp), (x, y))
    draw.text((x - 5, y + 5), "0", fill=QUIET, font=font, anchor="rm")
    draw.text((x + BAR + 5, y + 5), "1", fill=QUIET, font=font, anchor="lm")
    mark = x + round(zeta * (BAR - 1))
    draw.line((mark, y - 3, mark, y + 13), fill=INK, width=2)


def _words(preview: Preview, colors: Sequence[Color]) -> Image.Image:
    """Paint classes palely, draw a line around each region of a word, and write the words where there is room."""
    scene = _fit(preview.scene, Image.Resampling.LANCZOS, 2 * CELL)
    ids = _fit(preview.ids, Image.Resampling.NEAREST, 2 * CELL)
    picture = Image.fromarray(overlay(fade(scene), ids, colors, 0.55))
    rows, columns = _sample(preview.winners, scene.shape[:2])
    winners = preview.winners[rows[:, None], columns[None]]
    edge = np.zeros(winners.shape, dtype=bool)
    edge[:, 1:] |= winners[:, 1:] != winners[:, :-1]
    edge[1:] |= winners[1:] != winners[:-1]
    picture.paste(PAPER, mask=Image.fromarray(edge))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(17)
    taken: list[tuple[float, float, float, float]] = []
    for row, column, words in preview.labels:
        text = fit_text(words, font, picture.width - 8)
        half = font.getlength(text) / 2 + 3
        x = (column + 0.5) * picture.width / preview.winners.shape[1]
        y = (row + 0.5) * picture.height / preview.winners.shape[0]
        x, y = _inside(x, half, picture.width), _inside(y, 11, picture.height)
        box = (x - half, y - 11, x + half, y + 11)
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
            continue  # the larger region keeps the place; the legend names both
        taken.append(box)
        draw.text((x, y), text, fill=INK, font=font, anchor="mm", stroke_width=3, stroke_fill=PAPER)
    return picture


def _sample(maps: NDArray[np.intp], size: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of `maps` `[H, W]` that stand for the pixels of a picture of `size`, nearest neighbours."""
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(np.intp) for n, m in zip(size, maps.shape, strict=True))
    return rows, columns


def _inside(center: float, half: float, length: int) -> float:
    return min(max(center, half), max(length - half, half))


def _heading(preview: Preview, width: int) -> Image.Image:
    band, draw = canvas(width, MARGIN + 62)
    room = width - 2 * MARGIN
    title, small = ImageFont.load_default(28), ImageFont.load_default(17)
    draw.text((MARGIN, MARGIN + 18), fit_text(preview.title, title, room), fill=INK, font=title, anchor="ls")
    draw.text((MARGIN, MARGIN + 44), fit_text(preview.facts, small, room), fill=QUIET, font=small, anchor="ls")
    return band


def _caption(draw: ImageDraw.ImageDraw, place: tuple[int, int], name: str, explanation: str, width: int) -> None:
    title, small = ImageFont.load_default(20), ImageFont.load_default(15)
    x, y = place
    draw.text((x, y + 22), fit_text(name, title, width), fill=INK, font=title, anchor="ls")
    draw.text((x, y + 43), fit_text(explanation, small, width), fill=QUIET, font=small, anchor="ls")


def _legend(preview: Preview, width: int) -> Image.Image:
    """One line a class that occurs: swatch, name, share of the pixels, share of them that is sure, its words."""
    shown, more = preview.shares[:ROWS], len(preview.shares) - ROWS
    band, draw = canvas(width, LINE * (1 + len(shown) + (more > 0)) + MARGIN)
    font, small = ImageFont.load_default(18), ImageFont.load_default(15)
    name_width = min(max(font.getlength(preview.classes[k][0]) for k, *_ in shown), 220)
    ends = (MARGIN + 30 + name_width + 80, MARGIN + 30 + name_width + 160)
    start = round(ends[1] + 36)
    for end, text in zip(ends, ("pixels", "sure"), strict=True):
        draw.text((end, LINE - 8), text, fill=QUIET, font=small, anchor="rs")
    draw.text((start, LINE - 8), "words that win them, with their share in %", fill=QUIET, font=small, anchor="ls")
    for line, (class_id, share, sure, words) in enumerate(shown, 1):
        name, color = preview.classes[class_id]
        bottom = line * LINE + 22
        draw.rectangle((MARGIN, bottom - 16, MARGIN + 18, bottom + 2), fill=color, outline=QUIET)
        draw.text((MARGIN + 30, bottom), fit_text(name, font, name_width), fill=INK, font=font, anchor="ls")
        for end, part in zip(ends, (share, sure), strict=True):
            draw.text((end, bottom), f"{100 * part:.1f} %", fill=INK, font=font, anchor="rs")
        listed = ", ".join(f"{text} {100 * part:.1f}" for text, part in words if part >= LEAST)
        draw.text((start, bottom), fit_text(listed, font, width - MARGIN - start), fill=INK, font=font, anchor="ls")
    if more > 0:
        rest = f"and {more} more {'class' if more == 1 else 'classes'}"
        draw.text((MARGIN + 30, (len(shown) + 1) * LINE + 22), rest, fill=QUIET, font=font, anchor="ls")
    return band
