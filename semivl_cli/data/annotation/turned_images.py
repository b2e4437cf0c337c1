"""Whether a photograph that is shown turned (EXIF) was drawn on as shown, or as its pixels are stored."""

from __future__ import annotations

from typing import Literal

from semivl_cli.data.annotation.annotations import Drawing
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.read.orientation import Layout
from semivl_cli.errors import InputError

Orientation = Literal["shown", "stored"]


class UnclearOrientation(InputError):
    """Only the user can say which it is."""


def drawn_as(drawing: Drawing, image: Layout, said: Orientation | None) -> Orientation:
    """Return how an image was drawn on: its size tells, or else what is `said` for all such images.

    Raises:
        UnclearOrientation: if neither does; names the setting.
    """
    if image.orientation == 1:
        return "shown"
    size = drawing.size if drawing.picture is None else picture_layout(drawing.picture).shown
    if size is not None and image.stored != image.shown:
        return "stored" if size == image.stored else "shown"
    if said is None:
        raise UnclearOrientation(
            f"{drawing.origin}: {drawing.image} is shown turned (EXIF orientation {image.orientation}), and sizes do "
            'not tell whether it was drawn on as shown, as most tools do, or as stored: say orientation = "shown" or '
            'orientation = "stored" in dataset.toml'
        )
    return said


def picture_layout(file: Tree) -> Layout:
    """Return the layout of a mask from its header; raises `InputError` if it cannot be read."""
    return file.look(lambda picture: picture.layout)
