"""A folder of masks: of whole images, or of one class each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.image_names import ImageNames
from semivl_cli.data.annotation.label_pictures import count_colors, paint_layers, paint_mask
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.annotation.turned_images import picture_layout
from semivl_cli.data.formats.mask_names import DETECTED, Affixes, image_of, layer_of, shared_affixes
from semivl_cli.data.read.images import known_classes
from semivl_cli.data.read.picture_files import Picture
from semivl_cli.errors import InputError
from semivl_cli.files import bare


def open_masks(
    source: Tree,
    class_names: Sequence[str],
    images: ImageNames,
    affixes: Affixes = DETECTED,
    told: Sequence[str] = (),
    *,
    inside: str = "",
) -> Annotations:
    """Open a folder of masks named like their images, or like an image and a class.

    `7.png` and `7.jpg.png` are masks of the image `7`; `car/7.png`, `7/car.png`, `7_car.png`, `car_7.png` are the class
    `car` in it. Beside such a one, `cra/7.png` is no mask of the whole of `7`: it is refused. Where all masks have
    names that end alike, and without that are those of images, they are the masks of these: `7_mask.png`.

    Args:
        source: the folder or archive.
        class_names: of the definition.
        images: that there are.
        affixes: what the names of masks and images end in, where the user says it: pictures without it are no masks.
        told: notes of whoever found it.
        inside: name of the folders in which masks lie, where other pictures lie beside these.
    """
    notes = list(told)

    def pictures() -> Iterator[tuple[str, Tree]]:
        for name, file in source.files():
            if file.is_picture and (not inside or inside in name.split("/")[:-1]):
                yield name, file

    def drawings() -> Iterator[Drawing]:
        notes[:] = told
        if affixes == DETECTED:
            yield from _named(source, pictures(), class_names, images, notes)
        else:
            yield from _ending(source, pictures(), affixes, notes)

    return Annotations(
        kind="masks",
        where=str(source),
        labels={},
        drawings=drawings,
        on_top="the class with the higher id lies on top",
        notes=notes,
    )


def _ending(
    source: Tree, pictures: Iterator[tuple[str, Tree]], affixes: Affixes, notes: list[str]
) -> Iterator[Drawing]:
    """Yield the masks whose names end as the user says."""
    others = 0
    for name, file in pictures:
        image = image_of(name, affixes)
        if image is None:
            others += 1
        else:
            yield _whole(image, file)
    if others:
        notes.append(f"{source}: {others} pictures are no masks: their names do not end in {affixes.mask!r}")


def _named(
    source: Tree,
    pictures: Iterator[tuple[str, Tree]],
    class_names: Sequence[str],
    images: ImageNames,
    notes: list[str],
) -> Iterator[Drawing]:
    """Yield the masks that are named like an image, or like an image and a class; then all others."""
    layers: dict[str, list[tuple[str, Tree]]] = {}
    others: list[tuple[str, Tree]] = []
    exact = 0
    for name, file in pictures:
        image = name if images.knows(name) else bare(name)  # of `7.jpg.png`
        if images.knows(image):
            exact += 1
            yield _whole(image, file)
        elif layer := layer_of(name, class_names, images):
            layers.setdefault(layer[0], []).append((layer[1], file))
        else:
            others.append((name, file))
    shared = None if exact or layers else shared_affixes([name for name, _ in others], images)
    if shared is None:
        yield from _others(others, layers, images)
    else:
        of_images = f", those of images in {shared.image!r}" if shared.image else ""
        notes.append(f"{source}: the names of masks end in {shared.mask!r}{of_images}")
        yield from (_whole(image_of(name, shared) or name, file) for name, file in others)
    for image, parts in layers.items():
        yield Drawing(
            image=image,
            origin=", ".join(str(file) for _, file in parts),
            stamp=" ".join(file.stamp for _, file in parts),
            parts=[file for _, file in parts],
            paint=partial(paint_layers, tuple(parts)),
            size=_size(parts[0][1]),
        )


def _others(
    others: Sequence[tuple[str, Tree]], layers: dict[str, list[tuple[str, Tree]]], images: ImageNames
) -> Iterator[Drawing]:
    """Yield masks whose names tell no class; where others of their image do, they take all of it with them."""
    for name, file in others:
        found = images.find(name)
        if len(found) == 1 and found[0] in layers:
            del layers[found[0]]
            refuse = partial(_refuse, file, found[0])
            yield Drawing(image=found[0], origin=str(file), stamp=file.stamp, paint=refuse)
        else:
            yield _whole(name, file)


def _whole(name: str, file: Tree) -> Drawing:
    """Return the drawing of a mask that covers its image."""
    return Drawing(image=name, origin=str(file), stamp=file.stamp, paint=partial(paint_mask, file), picture=file)


def _size(file: Tree) -> tuple[int, int] | None:
    try:
        return picture_layout(file).shown
    except InputError:  # told when it is painted
        return None


def _refuse(file: Tree, image: str, key: Key, size: tuple[int, int]) -> Canvas:
    raise InputError(
        f"{file}: other masks of {image!r} are of one class each, and this one names none of the classes: "
        f"{known_classes(key.names)}: name it like one, or move it away"
    )


def look_like_masks(files: Sequence[Tree]) -> bool:
    """Whether pictures hold few grey values or colours each, as masks do and photographs do not."""
    return bool(files) and all(_is_flat(file) for file in files)


def _is_flat(file: Tree) -> bool:
    if file.suffix in (".jpg", ".jpeg", ".jfif"):
        return False
    try:
        return file.look(_holds_few_values)
    except InputError:
        return False


def _holds_few_values(opened: Picture) -> bool:
    picture = opened.pillow
    if picture is None or picture.mode in ("P", "1", "I") or picture.mode.startswith("I;16"):
        return picture is not None
    part = picture.crop((0, 0, min(picture.width, 4096), min(picture.height, 4096)))
    return len(count_colors(np.array(part.convert("RGB")))[0]) <= 64  # photographs have more, masks hardly ever
