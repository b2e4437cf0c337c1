"""A folder of masks: of whole images, or of one class each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from PIL import Image

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.image_names import ImageNames
from semivl_cli.data.annotation.label_pictures import count_colors, paint_layers, paint_mask
from semivl_cli.data.annotation.tree import Tree, bare
from semivl_cli.data.read.images import known_classes, read_image
from semivl_cli.errors import InputError


def open_masks(source: Tree, class_names: Sequence[str], images: ImageNames) -> Annotations:
    """Open a folder of masks named like their images, or like an image and a class.

    `7.png` is the mask of the image `7`; `car/7.png`, `7/car.png`, `7_car.png`, `car_7.png` are the class `car` in it.
    Beside such a one, `cra/7.png` is no mask of the whole of `7`: it is refused.
    """

    def drawings() -> Iterator[Drawing]:
        layers: dict[str, list[tuple[str, Tree]]] = {}
        others: list[tuple[str, Tree]] = []
        for name, file in source.files():
            if not file.is_picture:
                continue
            if images.knows(name):
                yield _whole(name, file)
            elif layer := _layer(name, class_names, images):
                layers.setdefault(layer[0], []).append((layer[1], file))
            else:
                others.append((name, file))
        for name, file in others:
            found = images.find(name)
            if len(found) == 1 and found[0] in layers:
                del layers[found[0]]
                refuse = partial(_refuse, file, found[0])
                yield Drawing(image=found[0], origin=str(file), stamp=file.stamp, paint=refuse)
            else:
                yield _whole(name, file)
        for image, parts in layers.items():
            yield Drawing(
                image=image,
                origin=", ".join(str(file) for _, file in parts),
                stamp=" ".join(file.stamp for _, file in parts),
                parts=[file for _, file in parts],
                paint=partial(paint_layers, tuple(parts)),
            )

    return Annotations(
        kind="masks",
        where=str(source.path),
        labels={},
        drawings=drawings,
        on_top="the class with the higher id lies on top",
    )


def _whole(name: str, file: Tree) -> Drawing:
    """Return the drawing of a mask that covers its image."""
    return Drawing(image=name, origin=str(file), stamp=file.stamp, paint=partial(paint_mask, file), picture=file)


def _refuse(file: Tree, image: str, key: Key, size: tuple[int, int]) -> Canvas:
    raise InputError(
        f"{file}: other masks of {image!r} are of one class each, and this one names none of the classes: "
        f"{known_classes(key.names)}: name it like one, or move it away"
    )


def need_conversion(source: Tree, class_names: Sequence[str], images: ImageNames) -> bool:
    """Whether any of the masks of a folder holds colours, or one class alone; no more than headers are read."""
    for name, file in source.files():
        if file.is_picture:
            if not images.knows(name) and _layer(name, class_names, images):
                return True
            try:
                with Image.open(file.path) as picture:
                    if picture.mode in ("RGB", "RGBA", "LA"):
                        return True
            except (OSError, ValueError):
                continue  # what cannot be read is told when every file is looked at
    return False


def look_like_masks(files: Sequence[Tree]) -> bool:
    """Whether pictures hold few grey values or colours each, as masks do and photographs do not."""
    return bool(files) and all(_is_flat(file) for file in files)


def _is_flat(file: Tree) -> bool:
    if file.suffix in (".jpg", ".jpeg") or file.archive is not None:
        return file.archive is not None
    try:
        with Image.open(file.path) as picture:
            if picture.mode in ("P", "1", "I") or picture.mode.startswith("I;16"):
                return True
    except OSError:
        return False
    return len(count_colors(read_image(file.path))[0]) <= 64  # photographs have more, masks hardly ever


def _layer(name: str, class_names: Sequence[str], images: ImageNames) -> tuple[str, str] | None:
    """Return the image and the class that a name tells, if it tells both."""
    stem = bare(name)
    folder, _, last = stem.rpartition("/")
    first, _, rest = stem.partition("/")
    for label in class_names:
        for word in {label, label.replace(" ", "_"), label.replace(" ", "-")}:
            candidates = [folder] if last == word else []
            if rest and first == word:
                candidates.append(rest)
            for sign in "_-.":
                if last.endswith(sign + word):
                    candidates.append(stem[: -len(word) - 1])
                if last.startswith(word + sign):
                    candidates.append(f"{folder}/{last[len(word) + 1 :]}".lstrip("/"))
            for image in candidates:
                if image and len(images.find(image)) == 1:
                    return image, label
    return None
