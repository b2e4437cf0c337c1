"""Turns class ids and colours into pictures: palette masks, overlays and legends, with NumPy and Pillow alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from semivl_cli.files import write_bytes

Color = tuple[int, int, int]
"""Red, green and blue, each 0..255."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

NEUTRAL: Color = (224, 224, 224)
"""What ids beyond the classes are painted with: nearly white, so that no class is mistaken for it."""

AUTHOR = "semivl"
"""What the PNG files written here name as their `Software`."""

INK: Color = (27, 31, 39)
PAPER: Color = (255, 255, 255)

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def save_mask(path: Path, ids: NDArray[np.uint8], colors: Sequence[Color], source: str = "") -> None:
    """Write `ids` `[H, W]` as a palette PNG: its raw values are the ids, its palette shows the classes.

    Ids beyond `colors` (255 is ignore) keep their value and look neutral. `source` is kept beside the pixels.
    """
    assert ids.dtype == np.uint8 and ids.ndim == 2, f"class ids are uint8 [H, W], not {ids.dtype} {ids.shape}"
    picture = Image.fromarray(ids)
    picture.putpalette(_palette(colors).tobytes())
    write_bytes(path, _encode(picture, "PNG", source))


def is_ours(path: Path) -> bool:
    """Whether a picture was written here: what was not may be somebody's labels."""
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == AUTHOR
    except (OSError, ValueError):
        return False


def made_from(path: Path) -> str:
    """Return the `source` that a mask was saved with; nothing where there is none, or the file is not whole."""
    try:
        with Image.open(path) as picture:
            return str(picture.info.get("Source", ""))
    except (OSError, ValueError):
        return ""


def save_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write `pixels` (uint8, `[H, W, 3]` RGB or `[H, W]` grey) as PNG or JPEG, whichever the suffix of `path` says."""
    write_bytes(path, _encode(Image.fromarray(pixels), _FORMATS[path.suffix.lower()]))


def colorize(ids: NDArray[np.uint8], colors: Sequence[Color]) -> NDArray[np.uint8]:
    """Paint `ids` `[H, W]` with the class colours -> uint8 `[H, W, 3]`; ids beyond `colors` become neutral."""
    return _palette(colors)[ids]


def overlay(
    image: NDArray[np.uint8], ids: NDArray[np.uint8], colors: Sequence[Color], alpha: float = 0.5
) -> NDArray[np.uint8]:
    """Paint the classes of `ids` `[H, W]` over `image` (uint8 `[H, W, 3]`) with opacity `alpha` (0..1).

    Borders between classes are painted half as transparent; ids beyond `colors` leave the image as it is.
    """
    scene, paint = Image.fromarray(image), Image.fromarray(colorize(ids, colors))
    known = (ids < len(colors))[..., None]
    border = known & _borders(ids)[..., None]
    painted = np.where(known, np.asarray(Image.blend(scene, paint, alpha)), image)
    return np.where(border, np.asarray(Image.blend(scene, paint, (1 + alpha) / 2)), painted)


def legend(names: Sequence[str], colors: Sequence[Color], width: int, size: int = 18) -> NDArray[np.uint8]:
    """Draw one swatch and name per class, in lines of at most `width` pixels -> uint8 `[height, width, 3]` on white.

    Args:
        names: the classes to show, one a colour.
        colors: their colours.
        width: of the picture, in pixels; a name that is wider is cut.
        size: of the letters, in pixels.
    """
    font = ImageFont.load_default(size)
    swatch, gap, line = size, size // 2, round(1.7 * size)
    places: list[tuple[int, int, str]] = []
    x = y = 0
    for name in names:
        text = fit_text(name, font, width - swatch - gap)
        entry_width = swatch + gap + round(font.getlength(text))
        if x > 0 and x + entry_width > width:
            x, y = 0, y + line
        places.append((x, y, text))
        x += entry_width + 2 * gap
    picture = Image.new("RGB", (width, y + line), PAPER)
    draw = ImageDraw.Draw(picture)
    for (x, y, text), color in zip(places, colors, strict=True):
        top = y + (line - swatch) // 2
        draw.rectangle((x, top, x + swatch - 1, top + swatch - 1), fill=color, outline=_edge(color))
        draw.text((x + swatch + gap, y + line // 2), text, fill=INK, font=font, anchor="lm")
    return np.asarray(picture)


def fit_text(text: str, font: Font, width: float) -> str:
    """Put `text` on one line and cut it with an ellipsis where it would be wider than `width` pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _palette(colors: Sequence[Color]) -> NDArray[np.uint8]:  # [256, 3]
    palette = np.full((256, 3), NEUTRAL, dtype=np.uint8)
    palette[: len(colors)] = np.asarray(colors, dtype=np.uint8).reshape(-1, 3)
    return palette


def _borders(ids: NDArray[np.uint8]) -> NDArray[np.bool_]:  # [H, W]
    border = np.zeros(ids.shape, dtype=bool)
    across, down = ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    return border


def _edge(color: Color) -> Color:
    """Darken a swatch's own colour for its edge, so that a white class is seen on white paper."""
    red, green, blue = (round(0.7 * part) for part in color)
    return red, green, blue


def _encode(picture: Image.Image, kind: str, source: str = "") -> bytes:
    data = io.BytesIO()
    if kind == "JPEG":
        picture.save(data, kind, quality=92)
    else:
        author = PngInfo()
        author.add_text("Software", AUTHOR)
        if source:
            author.add_text("Source", source)
        picture.save(data, kind, pnginfo=author)
    return data.getvalue()
