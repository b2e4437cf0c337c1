"""Reads COCO's `instances_*.json` image by image: its text is held, but its 450 MB never become Python objects."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semivl_cli.errors import InputError

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()
_LISTS = ("images", "annotations")


class Instances:
    """The images of an instance file, and the annotations of each as JSON text.

    Raises:
        InputError: the file is not one.
    """

    def __init__(self, file: Path) -> None:
        self.images: list[tuple[str, tuple[int, int]]] = []
        """Stem of the file name, and `(H, W)`."""
        self._ids: list[int] = []
        self._places: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        try:
            self._text = file.read_text(encoding="utf-8")
            for key, value, start, end in _elements(self._text):
                if key == "annotations":
                    self._places[value["image_id"]].append((start, end))
                else:
                    self.images.append((Path(value["file_name"]).stem, (int(value["height"]), int(value["width"]))))
                    self._ids.append(value["id"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise InputError(f"{file}: expected COCO's instances as JSON ({reason})") from error

    def annotations(self, number: int) -> list[str]:
        """Return the annotations of image `number` (its place in `images`), each as JSON."""
        return [self._text[start:end] for start, end in self._places.get(self._ids[number], ())]


def _elements(text: str) -> Iterator[tuple[str, Any, int, int]]:
    """Yield list name, value, start and end of each image and annotation of a file."""
    lacking = set(_LISTS)
    place = _after(text, 0, "{")
    while text[place] != "}":
        key, place = _DECODER.raw_decode(text, place)
        place = _after(text, place, ":")
        if key in _LISTS:
            lacking.discard(key)
            place = _after(text, place, "[")
            while text[place] != "]":
                value, end = _DECODER.raw_decode(text, place)
                yield key, value, place, end
                place = _comma_or(text, end, "]")
            place += 1
        else:
            _, place = _DECODER.raw_decode(text, place)
        place = _comma_or(text, place, "}")
    if lacking:
        raise ValueError(f"it has no {' and no '.join(sorted(lacking))}")


def _after(text: str, place: int, sign: str) -> int:
    """Return the place of what follows `sign`, which must be next."""
    place = _next(text, place)
    if text[place] != sign:
        raise ValueError(f"expected {sign!r} at character {place}")
    return _next(text, place + 1)


def _comma_or(text: str, place: int, end: str) -> int:
    """Return the place of what follows a comma, or of `end`."""
    place = _next(text, place)
    return place if text[place] == end else _after(text, place, ",")


def _next(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    assert match is not None, "nothing matches as well"
    return match.end()
