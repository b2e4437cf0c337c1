"""Reads COCO's `instances_*.json` image by image: its text is held, but its 450 MB never become Python objects."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semivl_cli.errors import InputError
from semivl_cli.limits import check_pixels

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
        self._texts: defaultdict[int, list[slice]] = defaultdict(list)
        try:
            self._text = file.read_text(encoding="utf-8")
            for key, value, start, end in _elements(self._text):
                if key == "annotations":
                    self._texts[value["image_id"]].append(slice(start, end))
                else:
                    size = (int(value["height"]), int(value["width"]))
                    if min(size) < 1:
                        raise ValueError(f"{value['file_name']} is {size[1]} x {size[0]} pixels")
                    check_pixels(*size, f"{file}: {value['file_name']}")
                    self.images.append((Path(value["file_name"]).stem, size))
                    self._texts.setdefault(value["id"], [])  # which must be something to look up
                    self._ids.append(value["id"])
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise InputError(f"{file}: expected COCO's instances as JSON ({reason})") from error

    def annotations(self, number: int) -> list[str]:
        """Return the annotations of image `number` of `images`, each as JSON."""
        return [self._text[part] for part in self._texts.get(self._ids[number], ())]


def _elements(text: str) -> Iterator[tuple[str, Any, int, int]]:
    """Yield list name, value, start and end of each image and annotation of a file."""
    lacking = set(_LISTS)
    at = _after(text, 0, "{")
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _after(text, at, ":")
        if key in _LISTS:
            lacking.discard(key)
            at = _after(text, at, "[")
            while text[at] != "]":
                value, end = _DECODER.raw_decode(text, at)
                yield key, value, at, end
                at = _after(text, end, ",", "]")
            at += 1
        else:
            _, at = _DECODER.raw_decode(text, at)
        at = _after(text, at, ",", "}")
    if lacking:
        raise ValueError(f"it has no {' and no '.join(sorted(lacking))}")


def _after(text: str, at: int, sign: str, end: str = "") -> int:
    """Return where that begins which follows `sign`, which must be next unless `end` is: then where `end` stands."""
    at = _next(text, at)
    if text[at] == end:
        return at
    if text[at] != sign:
        raise ValueError(f"expected {sign!r} at character {at}")
    return _next(text, at + 1)


def _next(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None, "nothing matches as well"
    return match.end()
