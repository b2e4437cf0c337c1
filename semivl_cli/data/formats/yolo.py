"""YOLO segmentation: a text file an image, a line a polygon, in fractions of the image."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import yaml

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.errors import InputError

_YAML = (".yaml", ".yml")
_CLASS_LISTS = ("classes.txt", "obj.names")
_NO_LABELS = (*_CLASS_LISTS, "train.txt", "val.txt", "test.txt", "valid.txt", "readme.txt", "labelmap.txt")


def find_yolo(given: Given) -> list[Tree]:
    """Return the whole of what holds a YAML file or a list of classes, or is a YAML file."""
    return [given.tree] if given.holds(*_CLASS_LISTS) or any(file.suffix in _YAML for file in given.files) else []


def open_yolo(source: Tree) -> Annotations:
    """Open a data set in YOLO's layout: `data.yaml` or `classes.txt`, and `labels/` beside `images/`.

    A YAML file stands for the folder in which it lies.

    Raises:
        InputError: if no file tells the names of the classes.
    """
    if source.suffix in _YAML and source.path.is_file():
        source = Tree(source.path.parent)
    names: dict[int, str] | None = None
    files = []
    for name, file in source.files():
        base = file.name.lower()
        if file.suffix in _YAML:
            names = _yaml_names(file) or names
        elif base in _CLASS_LISTS and names is None:
            names = {number: line.strip() for number, line in enumerate(file.text().splitlines()) if line.strip()}
        elif file.suffix == ".txt" and base not in _NO_LABELS:
            files.append((name, file))
    if names is None:
        raise InputError(f"{source.path}: expected data.yaml or classes.txt with the names of the classes")
    known = names

    def drawings() -> Iterator[Drawing]:
        for name, file in files:
            parts = name.removesuffix(".txt").split("/")
            image = "/".join(part for part in parts if part != "labels")
            stamp = f"{file.stamp} {known}"  # a number that is called otherwise is another drawing
            yield Drawing(image=image, origin=str(file), stamp=stamp, paint=partial(_paint, file, known), parts=[file])

    return Annotations(
        kind="YOLO polygons", where=str(source.path), labels=dict.fromkeys(known.values()), drawings=drawings
    )


def _yaml_names(file: Tree) -> dict[int, str] | None:
    try:
        content: Any = yaml.safe_load(file.text())
    except yaml.YAMLError as error:
        raise InputError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)}
    if isinstance(names, dict) and all(isinstance(number, int) for number in names):
        return {number: str(name) for number, name in names.items()}
    return None


def _paint(file: Tree, names: dict[int, str], key: Key, size: tuple[int, int]) -> Canvas:
    """Paint the polygons in the order of the file, each over those before."""
    canvas = Canvas(size, key.background)
    for number, line in enumerate(file.text().splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            class_number, *fractions = int(words[0]), *(float(word) for word in words[1:])
        except ValueError as error:
            raise InputError(f"{file}:{number}: expected a class and numbers, got {line[:40]!r}") from error
        if len(fractions) == 4:
            raise InputError(f"{file}:{number}: a box, not a polygon: export segmentation, not detection")
        if len(fractions) < 6 or len(fractions) % 2:
            raise InputError(
                f"{file}:{number}: a polygon has pairs of x and y, three at least: got {len(fractions)} numbers"
            )
        if not all(-0.5 <= fraction <= 1.5 for fraction in fractions):
            raise InputError(f"{file}:{number}: expected coordinates as fractions 0..1 of the image")
        if class_number not in names:
            raise InputError(f"{file}:{number}: the class {class_number} is none of {', '.join(map(str, names))}")
        points = [(x * size[1], y * size[0]) for x, y in zip(fractions[::2], fractions[1::2], strict=True)]
        canvas.polygon(points, key.class_of[names[class_number]])
    return canvas


FORMAT = Format(title="YOLO polygons", find=find_yolo, open=open_yolo)
