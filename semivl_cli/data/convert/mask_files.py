"""Paints the drawings of sources as mask files: in parallel, each whole or not there, and goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import InstanceOf

from semivl_cli.class_ids import IGNORE
from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key
from semivl_cli.data.annotation.image_names import ImageNames
from semivl_cli.data.contract import Classes, Color
from semivl_cli.data.read.images import check_size, image_size
from semivl_cli.documents import parse_json
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import FULL, file_stamp
from semivl_cli.palette import is_ours, made_from, save_mask
from semivl_cli.processes import in_threads

_UNMATCHED = "masks that cannot be matched with an image"


@dataclass(slots=True)
class Conversion:
    """What became of the drawings of all sources."""

    drawn: dict[str, bool] = field(default_factory=dict)
    """Id of an image -> whether its mask could be made."""
    unmatched: list[str] = field(default_factory=list)
    """Images that are drawn and not there, as the sources call them."""
    problems: dict[str, list[str]] = field(default_factory=dict)
    """Kind -> one line each."""
    notes: list[str] = field(default_factory=list)
    parts: set[str] = field(default_factory=set)
    """The files that draw one image each; the masks remember them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Made:
    """What became of one drawing; nothing where its mask is there already."""

    written: bool = False
    contested: int = 0
    uncovered: int = 0
    problem: str = ""


def convert(
    sources: Sequence[tuple[Annotations, Key]], images: Mapping[str, Path], out: Path, classes: Classes
) -> Conversion:
    """Write the mask of every drawing that an image belongs to as `<out>/<id>.png`, class ids and 255.

    A mask that was made before from the same drawing, with the same meaning, is kept as it is.

    Args:
        sources: with what their labels mean; of two drawings of one image the first counts.
        images: id -> file.
        out: folder of the masks.
        classes: names and colours, by id.

    Raises:
        RunError: if a mask cannot be written; all that were written are whole, and a second call goes on.
    """
    names = ImageNames(images)
    result = Conversion()
    for source, key in sources:
        jobs = _jobs(source, names, result)
        if source.strays:
            result.problems.setdefault(_UNMATCHED, []).extend(source.strays)
        written = there = contested = uncovered = 0
        first = ""
        values = hashlib.sha256(key.class_ids(np.arange(65536, dtype=np.uint16)).tobytes()).hexdigest()
        meaning = json.dumps([sorted(key.class_of.items()), key.background, list(key.names), values])
        make = partial(_make, key=key, meaning=meaning, images=images, out=out, colors=[color for _, color in classes])
        for (drawing, image), made in in_threads(make, jobs):
            result.drawn[image] = not made.problem
            if made.problem:
                result.problems.setdefault("masks that cannot be converted", []).append(made.problem)
                continue
            written += made.written
            there += not made.written
            uncovered += made.uncovered
            if made.contested:
                contested += 1
                first = first or f"{drawing.origin}, {made.contested} pixels"
        result.notes.extend(source.notes)
        already = f", {there} are there already" if there else ""
        result.notes.append(f"{source.where}: {source.kind}: {written} masks written{already}")
        if contested:
            result.notes.append(f"shapes of two classes overlap in {contested} images ({first}): {source.on_top}")
        if uncovered and source.shapes:
            meant = f"ignored; background = 0 in dataset.toml would make them {key.names[0]!r}"
            if key.background != IGNORE:
                meant = repr(key.names[key.background])
            result.notes.append(f"{uncovered} pixels are in no shape: they are {meant}")
    return result


def changed_origin(mask: Path) -> str | None:
    """Return a file that a mask was made from and that is not as it was then, by size and time, if there is one.

    Where many images share a file, or it is in an archive, the mask does not know it.
    """
    try:
        _, stamps = parse_json(made_from(mask), tuple[str, dict[InstanceOf[str], str]], str(mask))
    except InputError:  # nothing that was converted here
        return None
    return next((name for name, stamp in stamps.items() if file_stamp(Path(name)) != stamp), None)


def _jobs(source: Annotations, names: ImageNames, result: Conversion) -> Iterator[tuple[Drawing, str]]:
    """Yield each drawing that is wanted with the id of its image."""
    again: list[str] = []
    asked: set[str] = set()
    for drawing in source.drawings():
        result.parts.update(drawing.stamps())
        found = names.find(drawing.image)
        if len(found) != 1:
            result.unmatched.append(drawing.image)
            why = f"it could be {' or '.join(found[:3])}" if found else "no such image"
            result.problems.setdefault(_UNMATCHED, []).append(f"{drawing.origin}: {drawing.image}: {why}")
        elif found[0] in result.drawn or found[0] in asked:
            again.append(drawing.origin)
        else:
            asked.add(found[0])
            yield drawing, found[0]
    if again:
        result.notes.append(f"{len(again)} images are drawn twice: the first counts, not {again[0]}")


def _make(
    job: tuple[Drawing, str], *, key: Key, meaning: str, images: Mapping[str, Path], out: Path, colors: Sequence[Color]
) -> _Made:
    """Paint the mask of an image, unless it is there already."""
    drawing, image = job
    path = out / f"{image}.png"
    digest = hashlib.sha256(f"{meaning} {drawing.stamp} {drawing.origin}".encode(errors="surrogatepass")).hexdigest()
    made = json.dumps([digest[:32], drawing.stamps()])
    try:
        if path.exists():
            if made_from(path) == made:
                return _Made()
            if not is_ours(path):
                raise InputError(f"{path} is not of semivl's making, so it is not overwritten: move it away")
        size = image_size(images[image])
        if drawing.size is not None:
            check_size(drawing.origin, drawing.size, size)
        canvas = drawing.paint(key, size)
    except InputError as error:
        if is_ours(path):  # of an earlier drawing: a training must not take it for this one
            path.unlink()
        return _Made(problem=str(error))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_mask(path, canvas.ids, colors, made)
    except OSError as error:
        full = error.errno in FULL
        raise RunError(
            f"{path}: {'the disk is full' if full else f'cannot be written ({error.strerror or error})'}: "
            "the masks that were written are kept, and the same command goes on with the rest"
        ) from error
    return _Made(written=True, contested=canvas.contested, uncovered=canvas.uncovered)
