"""Turns class ids and colours into pictures: palette masks and overlays, with NumPy and Pillow alone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from semivl_cli.files import is_file, write_bytes

Color = tuple[int, int, int]
"""Red, green and blue, each 0..255."""

NEUTRAL: Color = (224, 224, 224)
"""What ids beyond the classes are painted with: nearly white, so that no class is mistaken for it."""

AUTHOR = "semivl"
"""What masks written here name as their `Software`, and overlays of theirs in the comment of a JPEG."""


# Pillow's own guard warns of large pictures: here only their heads are read, and data/read bounds what is decoded.
Image.MAX_IMAGE_PIXELS = None


def save_mask(
    path: Path, ids: NDArray[np.uint8], colors: Sequence[Color], source: str = "", *, ours: bool = True
) -> None:
    """Write `ids` (uint8 `[H, W]`) as a palette PNG: its raw values are the ids, its palette shows the classes.

    Ids beyond `colors` (255 is ignore) keep their value and look neutral. `source` is kept beside the pixels for
    `made_from`; not `ours` are labels, which no prediction may overwrite: `is_ours` does not know them again.
    """
    assert ids.dtype == np.uint8 and ids.ndim == 2, f"class ids are uint8 [H, W], not {ids.dtype} {ids.shape}"
    picture = Image.fromarray(ids)
    picture.putpalette(_palette(colors).tobytes())
    write_bytes(path, _encode(picture, "PNG", ours=ours, source=source))


def is_ours(path: Path) -> bool:
    """Whether a picture is a mask, an overlay or a drawing that was written here: what is not may be somebody's own."""
    texts = _texts(path)
    return texts.get("Software") == AUTHOR or texts.get("comment") == AUTHOR.encode()


def is_replaceable(path: Path) -> bool:
    """Whether a picture may make room for a newer prediction: it `is_ours`, and no label that was made from a file."""
    return is_ours(path) and not made_from(path)


def made_from(path: Path) -> str:
    """Return the `source` that a mask was saved with; nothing where there is none, or the file is not whole."""
    return str(_texts(path).get("Source", ""))


def _texts(path: Path) -> Mapping[Any, Any]:
    """Read what stands beside the pixels of a PNG or JPEG; of any other file that is nothing."""
    if not is_file(path):  # a pipe would be waited for
        return {}
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as picture:
            return picture.info
    except (OSError, ValueError, SyntaxError):
        return {}


def save_image(path: Path, pixels: NDArray[np.uint8], *, ours: bool = False) -> None:
    """Write `pixels` (uint8, `[H, W, 3]` RGB or `[H, W]` grey) as PNG or JPEG, whichever the suffix of `path` says.

    `ours`: it is drawn from what a model says, and `is_ours` knows it again; others are pictures like anybody's.
    """
    kind = Image.registered_extensions()[path.suffix.lower()]
    write_bytes(path, _encode(Image.fromarray(pixels), kind, ours=ours))


def overlay(
    image: NDArray[np.uint8], ids: NDArray[np.uint8], colors: Sequence[Color], alpha: float = 0.5
) -> NDArray[np.uint8]:
    """Paint the classes of `ids` `[H, W]` over `image` (uint8 `[H, W, 3]`) with opacity `alpha` (0..1).

    Borders between classes are painted half as transparent; ids beyond `colors` leave the image as it is.
    """
    scene, paint = Image.fromarray(image), Image.fromarray(_palette(colors)[ids])
    known = (ids < len(colors))[..., None]
    border = known & _borders(ids)[..., None]
    painted = np.where(known, np.asarray(Image.blend(scene, paint, alpha)), image)
    return np.where(border, np.asarray(Image.blend(scene, paint, (1 + alpha) / 2)), painted)


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


def _encode(picture: Image.Image, kind: str, *, ours: bool, source: str = "") -> bytes:
    """Return the bytes of a picture, with the mark of what is `ours` and where it comes from."""
    data, texts = io.BytesIO(), PngInfo()
    for name, text in {"Software": AUTHOR, "Source": source}.items():
        if ours and text:
            texts.add_text(name, text)
    marks: dict[str, Any] = {"pnginfo": texts, "comment": AUTHOR if ours else b""}  # each kind takes what it knows
    picture.save(data, kind, quality=92, **marks)
    return data.getvalue()
