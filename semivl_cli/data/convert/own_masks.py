"""Whether the masks that lie beside images can be read as they are, or must be converted; and how palettes are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from semivl_cli.data.annotation.annotations import Annotations, Key
from semivl_cli.data.annotation.image_names import ImageNames
from semivl_cli.data.annotation.palettes import Palette, Palettes, palette_of
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.annotation.turned_images import Orientation
from semivl_cli.data.formats.mask_names import layer_of
from semivl_cli.data.read.images import image_layout
from semivl_cli.data.read.picture_files import Picture
from semivl_cli.errors import InputError
from semivl_cli.files import bare
from semivl_cli.processes import in_threads


@dataclass(frozen=True, slots=True)
class _Head:
    """What the header of a mask, and of its image, tell."""

    why: str = ""
    """Why the mask cannot be read as it is."""
    palette: Palette | None = None


def why_converted(
    source: Tree,
    class_names: Sequence[str],
    names: ImageNames,
    images: Mapping[str, Path],
    key: Key,
    orientation: Orientation | None,
) -> str:
    """Return why masks cannot be read as they are, if so: colours, one class each, names, palettes, turned images.

    No more than headers are read, unless palettes leave a question.

    Raises:
        InputError: palettes differ, and nothing tells what is meant.
    """

    def pictures() -> Iterator[tuple[str, Tree]]:
        return ((name, file) for name, file in source.files() if file.is_picture)

    def look(named: tuple[str, Tree]) -> _Head:
        return _look(*named, class_names, names, images, orientation)

    palettes = Palettes(key)
    known: set[str] = set()
    unknown: list[str] = []
    for (name, _), head in in_threads(look, pictures()):
        if head.why:
            return head.why
        if names.knows(name):
            known.add(bare(name))
        else:
            unknown.append(name)
        if head.palette is not None:
            palettes.add(head.palette)
    if palettes.by_color(lambda: (file for _, file in pictures())):
        return "their palettes show the colours of the classes, or greys of class ids, in another order"
    if unknown and not known:
        return "their names are not those of images"
    if any(len(ids) == 1 and ids[0] not in known for ids in map(names.find, unknown)):
        return "some names are spelled otherwise than their images"
    return ""


def key_of_palettes(source: Annotations, key: Key) -> Key:
    """Return what the masks of a source are read with, by their palettes or not; raises `InputError` if none tells."""
    palettes = Palettes(key)
    for _, palette in in_threads(_palette, _masks(source)):
        if palette is not None:
            palettes.add(palette)
    return palettes.key if palettes.by_color(lambda: _masks(source)) else key


def _masks(source: Annotations) -> Iterator[Tree]:
    return (drawing.picture for drawing in source.drawings() if drawing.picture is not None)


def _palette(file: Tree) -> Palette | None:
    try:
        return file.look(palette_of)
    except InputError:
        return None


def _header(picture: Picture) -> tuple[bool, Palette | None, tuple[int, int]]:
    """Return whether a mask holds colours, its palette, and its `(H, W)` as shown."""
    colored = picture.pillow is not None and picture.pillow.mode in ("RGB", "RGBA", "LA")
    return colored, palette_of(picture), picture.layout.shown


def _look(
    name: str,
    file: Tree,
    class_names: Sequence[str],
    names: ImageNames,
    images: Mapping[str, Path],
    orientation: Orientation | None,
) -> _Head:
    """Look at the header of a mask, and at that of its image; what cannot be read is told by whoever reads it."""
    found = names.find(name) if names.knows(name) else ()
    if not found and layer_of(name, class_names, names):
        return _Head("there is one picture a class")
    try:
        colored, palette, size = file.look(_header)
        if colored:
            return _Head("they hold colours")
        image = image_layout(images[found[0]]) if len(found) == 1 else None
    except InputError:
        return _Head()
    if image is None or image.orientation == 1:
        return _Head(palette=palette)
    if size == image.stored and (image.stored != image.shown or orientation != "shown"):
        return _Head("images are shown turned (EXIF)")
    return _Head(palette=palette)
