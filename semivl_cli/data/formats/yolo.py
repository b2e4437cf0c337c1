"""YOLO segmentation: a text file an image, a line a polygon, in fractions of the image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from semivl_cli.data.annotation.annotations import Annotations, Drawing, Key
from semivl_cli.data.annotation.canvas import Canvas
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.yolo_data import (
    DataYaml,
    folders_named,
    is_class_list,
    is_yaml,
    names_by_number,
    names_in_list,
    read_data_yaml,
    splits_of,
    tells_names,
)
from semivl_cli.errors import InputError, listed, within
from semivl_cli.files import bare

_OF_LABELS = re.compile(r"labels|obj_\w+_data", re.IGNORECASE)
"""Folders whose text files are labels, whatever stands in them."""


@dataclass(slots=True)
class _Files:
    """The files of a data set, by what they are."""

    names: dict[int, str] = field(default_factory=dict)
    """Of the classes."""
    told_by: Tree | None = None
    """The first file that told the names."""
    data: list[tuple[str, DataYaml]] = field(default_factory=list)
    """Folder of each YAML file, and what it tells."""
    labels: dict[str, Tree] = field(default_factory=dict)
    """Path of an image without suffix, as far as that of its labels tells it -> the labels."""
    lists: dict[str, Sequence[str]] = field(default_factory=dict)
    """Path of a list -> the paths of images in it."""
    others: list[str] = field(default_factory=list)
    """Text files that are none of these."""

    def tell(self, names: dict[int, str], file: Tree) -> None:
        """Take the names that a file tells; raises `InputError` where another told others."""
        if self.told_by is not None and names != self.names:
            raise InputError(
                f"{self.told_by} and {file} tell different names of classes: name the YAML file that counts, or leave "
                "one of them out"
            )
        self.names, self.told_by = names, self.told_by or file


def find_yolo(given: Given) -> list[Tree]:
    """Return the whole of what holds text files in `labels/`, or such files and names of classes beside them."""
    if given.is_file:
        return [given.tree] if is_yaml(given.tree) else []
    texts = [file for file in given.files if file.suffix == ".txt" and not is_class_list(file)]
    if any(_in_labels(file.entry or file.path.relative_to(given.tree.path.parent).as_posix()) for file in texts):
        return [given.tree]
    told = any(is_class_list(file) or (is_yaml(file) and tells_names(file)) for file in given.files)
    return [given.tree] if told and any(all(map(_is_label, _lines(file))) for file in texts) else []


def open_yolo(source: Tree) -> Annotations:
    """Open a data set in YOLO's layout: `data.yaml` or `classes.txt`, and `labels/` beside `images/`.

    A YAML file stands for the folder that it names, where there are labels, else for that in which it lies.

    Raises:
        InputError: if no file tells the names of the classes, or they disagree; if it holds boxes or key points alone.
    """
    home: Path | None = None
    if is_yaml(source) and source.is_file:
        data = read_data_yaml(source)
        for home in (*folders_named(data, source.path.parent), source.path.parent):
            files = _Files(names_by_number(data, source), source, [("", data)])
            _sort(Tree(home), files)
            if files.labels:
                break
    else:
        files = _look(source)
    if files.told_by is None:
        raise InputError(f"{source}: expected data.yaml or classes.txt with the names of the classes")
    if not files.labels:
        raise InputError(f"{source}: it holds no text files of labels, one an image, in labels/ or beside the images")
    marks: dict[str, int] = {}
    polygons: set[str] = set()
    boxes = 0
    for image, file in files.labels.items():
        lines = [line.split() for line in _lines(file)]
        marks[image] = len(lines)
        boxes += sum(len(words) == 5 for words in lines)
        polygons.update(words[0] for words in lines if len(words) > 5)
    if boxes and boxes == sum(marks.values()):
        raise InputError(f"{source}: its labels are {boxes} boxes and no polygon: export segmentation, not detection")
    used = {_class_number(word) for word in polygons}
    names = files.names
    splits = splits_of(list(files.labels), files.data, files.lists)

    def drawings() -> Iterator[Drawing]:
        for image, file in files.labels.items():
            yield Drawing(
                image=image,
                origin=str(file),
                stamp=f"{file.stamp} {names} by size",  # a number that is called otherwise is another drawing
                paint=partial(_paint, file, names),
                parts=[file],
                marks=marks[image],
                split=splits.get(image),
            )

    return Annotations(
        kind="YOLO polygons",
        where=str(source),
        labels={name: None for number, name in names.items() if number in used},
        drawings=drawings,
        on_top="the smaller one lies on top, as Ultralytics paints them",
        notes=[f"text files that are no labels: {len(files.others)} ({listed(files.others, most=4)})"]
        if files.others
        else [],
        home=home,
    )


def _look(folder: Tree) -> _Files:
    """Look at every file of a folder."""
    files = _Files()
    for name, file in folder.files():
        if is_yaml(file) and tells_names(file):
            data = read_data_yaml(file)
            files.data.append((name.rpartition("/")[0], data))
            files.tell(names_by_number(data, file), file)
        elif is_class_list(file):
            files.tell(names_in_list(file), file)
    _sort(folder, files)
    return files


def _sort(folder: Tree, files: _Files) -> None:
    """Find the labels among the text files of a folder.

    They lie in `labels/`, or are called like an image beside them, or hold nothing but labels.
    """
    pictures: set[str] = set()
    texts: list[tuple[str, Tree]] = []
    for name, file in folder.files():
        if file.is_picture:
            pictures.add(bare(name))
        elif file.suffix == ".txt" and not is_class_list(file):
            texts.append((name, file))
    for name, file in texts:
        stem = name.removesuffix(".txt").removesuffix(".TXT")
        if not _in_labels(name) and (lines := _lines(file)):
            if all(bare(line) != line for line in lines):
                files.lists[name] = lines
                continue
            if stem not in pictures and not all(map(_is_label, lines)):
                files.others.append(name)
                continue
        image = "/".join("images" if part == "labels" else part for part in stem.split("/"))
        if image in files.labels:
            raise InputError(f"{files.labels[image]} and {file} are both labels of {image}: leave one of them out")
        files.labels[image] = file


def _in_labels(name: str) -> bool:
    """Whether a path leads through a folder of labels."""
    return any(map(_OF_LABELS.fullmatch, name.split("/")[:-1]))


def _lines(file: Tree) -> list[str]:
    """Return the lines that are not empty."""
    return [line for line in map(str.strip, file.text().splitlines()) if line]


def _is_label(line: str) -> bool:
    """Whether a line is a class and numbers."""
    try:
        return len([float(word) for word in line.split()]) > 4
    except ValueError:
        return False


def _class_number(word: str) -> int | None:
    """Return the number of a class, which may be written as `3.0`."""
    try:
        number = float(word)
    except ValueError:
        return None
    return int(number) if number.is_integer() and abs(number) < 10**9 else None


def _paint(file: Tree, names: Mapping[int, str], key: Key, size: tuple[int, int]) -> Canvas:
    canvas = Canvas(size, key.background, smaller_on_top=True)
    for number, line in enumerate(file.text().splitlines(), start=1):
        if line.strip():
            with within(f"{file}:{number}"):
                label, polygon = _read_line(line, names)
                canvas.polygon([(x * size[1], y * size[0]) for x, y in polygon], key.class_of[label])
    return canvas


def _read_line(line: str, names: Mapping[int, str]) -> tuple[str, list[tuple[float, float]]]:
    """Return the label and the corners of a polygon in fractions."""
    first, *words = line.split()
    class_number = _class_number(first)
    try:
        fractions = [float(word) for word in words]
    except ValueError as error:
        raise InputError(f"expected a class and numbers, got {line[:40]!r}") from error
    if class_number is None:
        raise InputError(f"expected the number of a class first, got {line[:40]!r}")
    if len(fractions) == 4:
        raise InputError("a box, not a polygon: export segmentation, not detection")
    if len(fractions) < 6 or len(fractions) % 2:
        raise InputError(f"a polygon has pairs of x and y, three at least: got {len(fractions)} numbers")
    if not all(-0.5 <= fraction <= 1.5 for fraction in fractions):
        raise InputError("expected coordinates as fractions 0..1 of the image")
    if class_number not in names:
        raise InputError(f"the class {class_number} is none of {listed([str(number) for number in names])}")
    return names[class_number], list(zip(fractions[::2], fractions[1::2], strict=True))


FORMAT = Format(title="YOLO polygons", find=find_yolo, open=open_yolo)
