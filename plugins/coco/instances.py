"""Reads COCO's `instances_*.json` image by image: its text is held, but its 450 MB never become Python objects."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from semivl_cli.documents import Document, as_type, decode_text, read_bytes
from semivl_cli.errors import InputError, first_line
from semivl_cli.limits import check_pixels

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()
_LISTS = ("images", "annotations")


class _Image(Document):
    id: int
    file_name: str
    height: PositiveInt
    width: PositiveInt


class _Annotation(Document):
    """What tells whose it is; the rest is read where it is painted."""

    image_id: int


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
        self._text = decode_text(read_bytes(file), str(file))
        try:
            for key, value, start, end in _elements(self._text):
                if key == "annotations":
                    self._texts[as_type(value, _Annotation, key).image_id].append(slice(start, end))
                else:
                    image = as_type(value, _Image, key)
                    check_pixels(image.height, image.width, image.file_name)
                    self.images.append((Path(image.file_name).stem, (image.height, image.width)))
                    self._ids.append(image.id)
        except (InputError, ValueError, LookupError, RecursionError) as error:
            reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {first_line(error)}"
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
