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
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.turned_images import Orientation, UnclearOrientation, drawn_as
from semivl_cli.data.contract import Classes, Color
from semivl_cli.data.convert.matching import Matches
from semivl_cli.data.read.images import check_size, image_layout
from semivl_cli.data.read.orientation import Layout, turned
from semivl_cli.documents import parse_json
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import FULL, file_stamp
from semivl_cli.palette import is_ours, made_from, save_mask
from semivl_cli.processes import in_threads

_UNREADABLE = "images that cannot be read"
_UNMATCHED = "masks that cannot be matched with an image"
_BROKEN = "masks that cannot be converted"
_UNCLEAR = "images that may have been drawn on as shown or as stored"


@dataclass(slots=True)
class Conversion:
    """What became of the drawings of all sources."""

    drawn: dict[str, bool] = field(default_factory=dict)
    """Id of an image -> whether its mask could be made."""
    problems: dict[str, list[str]] = field(default_factory=dict)
    """Kind -> one line each."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """All that is drawn on an image; parts are of several sources, or of one that draws it several times."""

    image: str
    parts: Sequence[tuple[Drawing, Key]]
    meaning: str
    """Changes when the meaning of what is drawn does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Made:
    """What became of a job; nothing where its mask is there already."""

    written: bool = False
    empty: bool = False
    """Nothing is drawn, and no class stands for that: there is no mask."""
    contested: int = 0
    uncovered: int = 0
    kind: str = ""
    problem: str = ""


@dataclass(slots=True)
class _Count:
    """How many masks of a source became what."""

    written: int = 0
    there: int = 0
    contested: int = 0
    uncovered: int = 0
    empty: int = 0
    first: str = ""
    """Where shapes of two classes overlap first."""


def convert(
    matches: Matches,
    keys: Sequence[Key],
    images: Mapping[str, Path],
    out: Path,
    classes: Classes,
    orientation: Orientation | None = None,
) -> Conversion:
    """Write the mask of every image that is drawn on as `<out>/<id>.png`, class ids and 255.

    A mask that was made before from the same drawings, with the same meaning, is kept as it is. Where sources draw an
    image in different classes all of it counts; where they draw the same class otherwise it is refused.

    Args:
        matches: the drawings of sources with their images.
        keys: of each source, what its labels mean.
        images: id -> file.
        out: folder of the masks.
        classes: names and colours, by id.
        orientation: how images were drawn on that are shown turned, where that does not show.

    Raises:
        RunError: if a mask cannot be written; all that were written are whole, and a second call goes on.
    """
    result = Conversion()
    if matches.problems:
        result.problems[_UNMATCHED] = list(matches.problems)
    counts = [_Count() for _ in matches.sources]
    colors = [color for _, color in classes]
    make = partial(_make, images=images, out=out, colors=colors, orientation=orientation)
    for (number, job), made in in_threads(lambda numbered: make(numbered[1]), _jobs(matches, keys)):
        if not made.empty:
            result.drawn[job.image] = not made.problem
        if made.problem:
            result.problems.setdefault(made.kind, []).append(made.problem)
            continue
        count = counts[number]
        count.written += made.written
        count.there += not made.written and not made.empty
        count.empty += made.empty
        count.uncovered += made.uncovered
        if made.contested:
            count.contested += 1
            count.first = count.first or f"{job.parts[0][0].origin}, {made.contested} pixels"
    for source, key, count in zip(matches.sources, keys, counts, strict=True):
        result.notes += [*source.notes, *key.notes, *_told(source, key, count)]
    several = sum(count > 1 for count in matches.count.values())
    if several:
        result.notes.append(
            f"{several} images are drawn in several places: all of it counts, later ones on top unless all are by size"
        )
    result.notes += matches.notes
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


def _told(source: Annotations, key: Key, count: _Count) -> Iterator[str]:
    """Say what became of the drawings of a source."""
    already = f", {count.there} are there already" if count.there else ""
    yield f"{source.where}: {source.kind}: {count.written} masks written{already}"
    if count.contested:
        yield f"shapes of two classes overlap in {count.contested} images ({count.first}): {source.on_top}"
    if count.uncovered and source.shapes:
        meant = f"ignored; background = 0 in dataset.toml would make them {key.names[0]!r}"
        if key.background != IGNORE:
            meant = repr(key.names[key.background])
        yield f"{count.uncovered} pixels are in no shape: they are {meant}"
    if count.empty:
        yield (
            f"{source.where}: nothing is drawn on {count.empty} images, and no class is the background: they have no "
            "mask; background = 0 in dataset.toml would make them all of that class"
        )


def _jobs(matches: Matches, keys: Sequence[Key]) -> Iterator[tuple[int, _Job]]:
    """Yield what is drawn on each image, and the number of its first source; images that are drawn several times last.

    That way no more drawings are held than those.
    """
    meanings = [_meaning(key) for key in keys]
    several: dict[str, list[tuple[int, Drawing]]] = {}
    for number, drawing, image in matches.drawings():
        if matches.count[image] == 1:
            yield number, _Job(image=image, parts=[(drawing, keys[number])], meaning=meanings[number])
        else:
            several.setdefault(image, []).append((number, drawing))
    for image, numbered in several.items():
        parts = [(drawing, keys[number]) for number, drawing in numbered]
        meaning = " ".join(meanings[number] for number, _ in numbered)
        yield numbered[0][0], _Job(image=image, parts=parts, meaning=meaning)


def _meaning(key: Key) -> str:
    values = hashlib.sha256(key.class_ids(np.arange(65536, dtype=np.uint16)).tobytes()).hexdigest()
    parts = [sorted(key.class_of.items()), key.background, list(key.names), values]
    return json.dumps([*parts, *(["palette"] if key.by_palette else [])])


def _make(
    job: _Job, *, images: Mapping[str, Path], out: Path, colors: Sequence[Color], orientation: Orientation | None
) -> _Made:
    """Paint the mask of an image, unless it is there already."""
    path = out / f"{job.image}.png"
    kind = _UNREADABLE
    try:
        image = image_layout(images[job.image])
        kind = _BROKEN
        ways = [drawn_as(drawing, image, orientation) for drawing, _ in job.parts]
        made = _origin(job, image, ways)
        if path.exists():
            if made_from(path) == made:
                return _Made()
            if not is_ours(path):
                raise InputError(f"{path} is not of semivl's making, so it is not overwritten: move it away")
        canvas = _paint(job, image, ways)
    except InputError as error:
        kind = _UNCLEAR if isinstance(error, UnclearOrientation) else kind
        _forget(path)
        return _Made(kind=kind, problem=str(error))
    if canvas.uncovered == canvas.ids.size and (canvas.ids == IGNORE).all():
        _forget(path)
        return _Made(empty=True)
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


def _forget(path: Path) -> None:
    """Remove the mask of an earlier drawing: a training must not take it for this one."""
    if is_ours(path):
        path.unlink()


def _origin(job: _Job, image: Layout, ways: Sequence[Orientation]) -> str:
    """Return what changes when the mask does, and the files of this image alone with their stamps, as JSON."""
    drawn = " ".join(f"{drawing.stamp} {drawing.origin}" for drawing, _ in job.parts)
    turned = f" {image.orientation} {ways}" if "stored" in ways else ""
    digest = hashlib.sha256(f"{job.meaning} {drawn}{turned}".encode(errors="surrogatepass")).hexdigest()
    stamps = {name: stamp for drawing, _ in job.parts for name, stamp in drawing.stamps().items()}
    return json.dumps([digest[:32], stamps])


def _paint(job: _Job, image: Layout, ways: Sequence[Orientation]) -> Canvas:
    """Paint all that is drawn on an image.

    Raises:
        InputError: if a drawing does not fit, or nothing of it has an area, or two draw the same class otherwise.
    """
    canvases = []
    for (drawing, key), way in zip(job.parts, ways, strict=True):
        size = image.stored if way == "stored" else image.shown
        if drawing.size is not None:
            check_size(drawing.origin, drawing.size, size)
        canvas = drawing.paint(key, size)
        if way == "stored":
            canvas.turn(partial(turned, orientation=image.orientation))
        canvases.append(canvas)
    _refuse_unpainted([drawing for drawing, _ in job.parts], canvases)
    first, *others = canvases
    for number, canvas in enumerate(others, start=1):
        if (canvas.ids == first.ids).all():
            continue
        both = (first.classes & canvas.classes) - {IGNORE}
        if both:
            names = job.parts[0][1].names
            raise InputError(
                f"{job.parts[0][0].origin} and {job.parts[number][0].origin} both draw {names[min(both)]!r} on "
                f"{job.image!r}, and not alike: leave one of them out"
            )
        first.lay(canvas)
    return first


def _refuse_unpainted(drawings: Sequence[Drawing], canvases: Sequence[Canvas]) -> None:
    """Raise `InputError` where something is drawn on an image, and nothing was painted."""
    marked = next((drawing for drawing in drawings if drawing.marks), None)
    if marked is not None and all(canvas.uncovered == canvas.ids.size for canvas in canvases):
        things = f"{marked.marks} things are" if marked.marks != 1 else "1 thing is"
        raise InputError(
            f"{marked.origin}: {things} drawn on {marked.image}, and nothing of that has an area inside it, such as a "
            "polygon or a mask: draw regions, or leave the image out"
        )
