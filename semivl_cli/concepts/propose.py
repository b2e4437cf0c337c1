"""The text of a definition to begin with: a class for everything that the files of a dataset seem to show."""

from __future__ import annotations

import colorsys
import json
from collections.abc import Sequence

from semivl_cli.concepts.schema import Color

_TURN = 0.381966
"""Of the colour circle, the golden section: neighbours differ, and no two classes meet soon."""


def propose_definition(title: str, classes: Sequence[tuple[str, Color | None]]) -> str:
    """Return a definition file for classes with these names, and colours where they have one, by id."""
    taken = {color for _, color in classes if color is not None}
    lines = [
        "# Proposed by semivl from what the files show: give each class its name, and say in guideline and concepts",
        "# what belongs to it; the order of the classes gives their ids.",
        "",
        f"title = {_quoted(title)}",
    ]
    for number, (name, given) in enumerate(classes):
        color = given if given is not None else _free_color(number, taken)
        taken.add(color)
        lines += ["", "[[class]]", f"name = {_quoted(name)}", f'color = "#{bytes(color).hex()}"']
        lines.append(f"concepts = [{_quoted(name)}]")
    return "\n".join(lines) + "\n"


def _free_color(number: int, taken: set[Color]) -> Color:
    while True:
        red, green, blue = colorsys.hsv_to_rgb(number * _TURN % 1, 0.55 + 0.45 * (number % 2), 0.9)
        color = (round(255 * red), round(255 * green), round(255 * blue))
        if color not in taken:
            return color
        number += 1


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # a basic string of TOML
