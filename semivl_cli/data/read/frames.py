"""How many pictures a file holds: pages of a TIFF, frames of an animation. Only the first is ever read."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

_KINDS = ("TIFF", "GIF", "WEBP", "PNG")
_MOST = 10_000
_SUBFILE, _REDUCED, _MASK = 254, 1, 4


def count_frames(path: Path) -> int:
    """Return how many pictures a file holds, up to 10,000; smaller copies of one and masks of a TIFF are none."""
    try:
        with Image.open(path, formats=_KINDS) as picture:
            if not isinstance(picture, TiffImageFile):
                return int(getattr(picture, "n_frames", 1))
            found = 0
            for page in range(_MOST):
                picture.seek(page)
                found += not int(picture.tag_v2.get(_SUBFILE, 0)) & (_REDUCED | _MASK)
            return found
    except EOFError:  # past the last page
        return max(found, 1)
    except Exception:  # whoever reads the first will say what is wrong
        return 1
