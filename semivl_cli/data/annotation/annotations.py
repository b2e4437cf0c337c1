"""What a file of an annotation tool tells: labels, and for each image a drawing that can be painted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semivl_cli.class_ids import IGNORE, NO_CLASS
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.exported_split import ExportedSplit
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.contract import Classes, Color
from semivl_cli.data.ids import composed
from semivl_cli.data.read.images import known_classes
from semivl_cli.errors import InputError, listed

NO_SHAPE = frozenset(("background", "_background_", "__background__"))
"""What tools call the pixels that nothing was drawn on, where it is no class of the user."""

NO_LABEL = frozenset(("ignore", "void", "unlabeled", "unlabelled"))
"""What people call what shall neither train nor count, where it is no class of theirs; also `__ignore__`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """Labels of one source -> class ids, ready to paint with."""

    class_of: Mapping[str, int]
    """Label or colour (`"#rrggbb"`) -> class id, or 255."""
    background: int
    """Class id, or 255, of pixels in no shape."""
    class_ids: Callable[[NDArray[Any]], NDArray[np.uint8]]
    """Raw values of index masks -> class ids and 255."""
    names: Sequence[str]
    """Of the classes, by id."""
    shared: Mapping[str, str] = field(default_factory=dict)
    """Colour that several classes have -> their names: a mask of colours that shows it cannot be read."""
    by_palette: bool = False
    """Whether the colours of palettes count, and not the indices."""
    notes: Sequence[str] = ()
    """What labels were taken for without anybody having said so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """What a source tells about one image."""

    image: str
    """Name or path of the image, as the source has it."""
    or_else: str = ""
    """Another path of it, which counts where the first means no image, or several."""
    origin: str
    """How messages name the place in the source."""
    stamp: str
    """Changes when the source does."""
    paint: Callable[[Key, tuple[int, int]], Canvas]
    """Paints the class map of an image of `(H, W)`; raises `InputError` where the drawing does not fit."""
    size: tuple[int, int] | None = None
    """`(H, W)` of the image, where the source tells it."""
    picture: Tree | None = None
    """The mask, where it is a single picture."""
    parts: Sequence[Tree] = ()
    """The files of this image alone, where it is drawn in such; `picture` need not be named again."""
    marks: int | None = None
    """How many things are drawn on it, of whatever kind, or `None` for a mask: an image on which something is drawn and
    nothing can be painted is refused."""
    split: ExportedSplit | None = None
    """What the exporter held the image for, where the source tells it."""

    def stamps(self) -> dict[str, str]:
        """Return the files of this image alone that lie on the disk -> what changes when they do."""
        files = (*self.parts, *([self.picture] if self.picture is not None else ()))
        return {str(file.path): file.stamp for file in files if file.archive is None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotations:
    """A source that was recognised."""

    kind: str
    """What it is, as messages say it."""
    where: str
    labels: Mapping[str, Color | None]
    """Label -> its colour, where the source has one; for pictures of colours the labels are `"#rrggbb"`."""
    drawings: Callable[[], Iterable[Drawing]]
    """Gives one drawing after the other."""
    some_unseen: bool = False
    """Whether labels may be drawn nowhere: one that is no class then matters where it is seen (`NO_CLASS`)."""
    shapes: bool = True
    """Whether pixels may be in no shape."""
    on_top: str = "what is drawn later lies on top"
    """Which of two shapes wins where they overlap."""
    notes: Sequence[str] = ()
    """What is worth telling about the source."""
    strays: Sequence[str] = ()
    """What is drawn on images that the source does not name, one line each."""
    void: frozenset[str] = frozenset()
    """Labels that its makers do not evaluate: ignored where they are no class of the user."""
    prevails: bool = False
    """Whether what it draws counts alone, whatever sources after it draw on the same images."""
    home: Path | None = None
    """Folder in which its images lie, where they came along."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """A source of images without masks."""

    kind: str
    where: Path
    files: Callable[[], Iterator[Path]]
    """Yields the images in order."""
    listed: bool = False
    """Whether a list names them."""
    beside: bool = False
    """Whether they lie beside annotations, which were what was meant."""
    unpacked: bool = False
    """Whether they come out of an archive."""
    notes: Sequence[str] = ()
    """What is worth telling about the source."""


def left_out(kinds: Mapping[str, int]) -> list[str]:
    """Return the note, if any, on what is drawn and has no area: how many of which kind."""
    each = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return [f"drawn without an area, left out: {each}"] if each else []


def make_key(
    source: Annotations,
    classes: Classes,
    meanings: Mapping[str, int],
    background: int | None,
    class_ids: Callable[[NDArray[Any]], NDArray[np.uint8]],
) -> Key:
    """Find the class of every label of a source: as `dataset.toml` says, else the class of the same name or colour.

    Names are compared as they are, then without case, and with `_` and `-` as spaces. A label such as "background" that
    is no class means the pixels in no shape, which are the class "background" where there is one, and ignored
    otherwise; one such as "void" that is no class is ignored, and so is what the makers of the source do not evaluate.

    Args:
        source: whose labels they are.
        classes: names and colours, by id.
        meanings: label, number or colour (`"#rrggbb"`) -> class id, or 255, as the user says.
        background: class id, or 255, of pixels in no shape; `None` where it is not said.
        class_ids: raw values of index masks -> class ids and 255.

    Raises:
        InputError: if labels are no class, or might be two; names all of them and the classes that exist.
    """
    names = [name for name, _ in classes]
    numbers = {name: number for number, name in enumerate(names)}
    said, named = _Words(meanings), _Words(numbers)
    if background is None:
        background = next(iter(named.find("background")), IGNORE)
    class_of, shared = _classes_of_colors(classes, meanings)
    class_of.update(numbers)
    unknown, unclear, ignored, unseen = list[str](), [], [], list[str]()
    known = 0
    for label in source.labels:
        found = said.find(label) or named.find(label)
        if not found and label.lower() in class_of:
            found = {class_of[label.lower()]} - {NO_CLASS}
        ground = label.casefold() in NO_SHAPE or plain_name(label) in NO_SHAPE
        known += bool(found) and not ground
        if not found and ground:
            found = {background}
        if not found and (plain_name(label) in NO_LABEL or label in source.void):
            found = {IGNORE}
            ignored.append(repr(label))
        if len(found) == 1:
            class_of[label] = next(iter(found))
        elif found:
            unclear.append(f"{label!r} may be {' or '.join(_called(number, names) for number in sorted(found))}")
        else:
            (unseen if source.some_unseen else unknown).append(label)
    if unclear:
        raise InputError(
            f"{source.where}: {'; '.join(unclear[:3])}: names are compared without case, and with _ and - as spaces: "
            "rename the label or the class"
        )
    class_of.update(dict.fromkeys(unseen, NO_CLASS))
    if unseen and not known:  # then it is the definition that does not fit
        unknown = unseen
    if unknown:
        quoted = json.dumps(unknown[0], ensure_ascii=False)  # as TOML has it
        raise InputError(
            f"{source.where}: {listed([repr(label) for label in unknown])} "
            f"{'is no class' if len(unknown) == 1 else 'are no classes'}; "
            f"the classes are {known_classes(names)}: name the label like a class, or say in dataset.toml what it "
            f"means: values = {{ {quoted} = 0 }} or ignore = [{quoted}]"
        )
    notes = [f"{source.where}: {listed(ignored)}: ignored, for no class is called so"] if ignored else []
    return Key(class_of=class_of, background=background, class_ids=class_ids, names=names, shared=shared, notes=notes)


class _Words:
    """Names and what they mean."""

    def __init__(self, meanings: Mapping[str, int]) -> None:
        self._exact = meanings
        self._plain: dict[str, set[int]] = {}
        for name, number in meanings.items():
            self._plain.setdefault(plain_name(name), set()).add(number)

    def find(self, label: str) -> set[int]:
        """Return what a label means: of the name that equals it, else of all names that differ in form alone."""
        return {self._exact[label]} if label in self._exact else self._plain.get(plain_name(label), set())


def _classes_of_colors(classes: Classes, meanings: Mapping[str, int]) -> tuple[dict[str, int], dict[str, str]]:
    """Return the class id of every colour, and the names of classes that share one unless it is said what it means."""
    having: dict[str, list[int]] = {}
    for number, (_, color) in enumerate(classes):
        having.setdefault(to_hex(color), []).append(number)
    said = {name: number for name, number in meanings.items() if name.startswith("#")}
    shared = {
        color: " and ".join(repr(classes[number][0]) for number in numbers)
        for color, numbers in having.items()
        if len(numbers) > 1 and color not in said
    }
    alone = {color: numbers[0] for color, numbers in having.items() if color not in shared}
    return alone | said | dict.fromkeys(shared, NO_CLASS), shared


def _called(number: int, names: Sequence[str]) -> str:
    return repr(names[number]) if number < len(names) else "ignored"


def to_hex(color: Sequence[int]) -> str:
    """Return a colour as `"#rrggbb"`."""
    return "#" + bytes(color).hex()


def plain_name(name: str) -> str:
    """Return a name as names are compared: with accents composed, without case, and with `_` and `-` as spaces."""
    plain = composed(name).casefold().replace("_", " ").replace("-", " ")
    return name if name in NO_SHAPE else " ".join(plain.split())
