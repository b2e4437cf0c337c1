"""What stands beside the labels of a YOLO data set: names of classes, and which images train, validate and test."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from semivl_cli.data.annotation.exported_split import ExportedSplit, split_of_folders
from semivl_cli.data.annotation.image_names import ImageNames
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.split_lists import splits_of_lists
from semivl_cli.documents import Document, as_type, load_yaml
from semivl_cli.errors import InputError

_YAML = (".yaml", ".yml")
_CLASS_LISTS = ("classes.txt", "predefined_classes.txt", "_darknet.labels")


class DataYaml(Document):
    """What `data.yaml` tells."""

    names: list[str | int | float] | dict[int | str, str | int | float]
    nc: int | None = None
    kpt_shape: Any = None
    path: str | None = None
    train: str | list[str] | None = None
    val: str | list[str] | None = None
    test: str | list[str] | None = None

    @property
    def paths(self) -> Mapping[ExportedSplit, Sequence[str]]:
        """Folders and lists of images of each split, as they are written."""
        told: dict[ExportedSplit, str | list[str] | None] = {"train": self.train, "val": self.val, "test": self.test}
        return {split: [paths] if isinstance(paths, str) else paths or [] for split, paths in told.items()}


def is_yaml(file: Tree) -> bool:
    """Whether a file is YAML, by its suffix."""
    return file.suffix in _YAML


def is_class_list(file: Tree) -> bool:
    """Whether a file lists the names of classes, a line each."""
    return file.name.lower() in _CLASS_LISTS or file.suffix == ".names"


def tells_names(file: Tree) -> bool:
    """Whether a YAML file tells names of classes; one that cannot be read does if it has the usual name."""
    try:
        content = load_yaml(file.read(), str(file))
    except InputError:
        return PurePosixPath(file.name.lower()).stem in ("data", "dataset")
    return isinstance(content, dict) and "names" in content


def read_data_yaml(file: Tree) -> DataYaml:
    """Read a YAML file; raises `InputError` where it lacks names, or is of key points."""
    data = as_type(load_yaml(file.read(), str(file)), DataYaml, str(file))
    if data.kpt_shape is not None:
        raise InputError(
            f"{file}: kpt_shape says that its labels are key points (pose), no polygons: export segmentation"
        )
    if data.nc is not None and data.nc != len(data.names):
        raise InputError(f"{file}: nc says {data.nc} classes, names has {len(data.names)}")
    return data


def folders_named(data: DataYaml, folder: Path) -> list[Path]:
    """Return the folders that a YAML file in `folder` names as that of the data set: its `path`, else what is absolute.

    `/data/set/images/train` and `/data/set/images/val` lie in `/data/set`.
    """
    if data.path is not None:
        return [path for path in (Path(os.path.normpath(folder / data.path)),) if path.is_dir()]
    whole = [path for paths in data.paths.values() for path in paths if Path(path).is_absolute()]
    common = Path(os.path.commonpath(whole)) if whole else folder
    common = common.parent if common.name == "images" or not common.is_dir() else common
    return [common] if common.is_dir() else []


def names_by_number(data: DataYaml, file: Tree) -> dict[int, str]:
    """Return number -> name; raises `InputError` where a number is none, or comes twice (as 0 and as "0")."""
    if isinstance(data.names, list):
        return {number: str(name) for number, name in enumerate(data.names)}
    found: dict[int, str] = {}
    for key, name in data.names.items():
        text = str(key)
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InputError(f"{file}: names has the key {text[:40]!r}: expected the number of a class")
        if int(text) in found:
            raise InputError(f"{file}: names has two entries for the class {text}")
        found[int(text)] = str(name)
    return dict(sorted(found.items()))


def names_in_list(file: Tree) -> dict[int, str]:
    """Return number -> name of a list with a name a line; empty lines count as numbers that are not used."""
    lines = enumerate(line.strip() for line in file.text().splitlines())
    return {number: line for number, line in lines if line}


def splits_of(
    images: Sequence[str], data: Sequence[tuple[str, DataYaml]], lists: Mapping[str, Sequence[str]]
) -> dict[str, ExportedSplit]:
    """Return what each image is held for, if it is for one thing alone.

    YAML files say it, else lists such as `val.txt`, else the names of folders.

    Args:
        images: paths without suffix.
        data: folder of each YAML file, and what it tells.
        lists: path of each list -> the paths of images in it.
    """
    find = ImageNames(images).find
    told: dict[str, set[ExportedSplit]] = {}
    for base, one in data:
        for split, paths in one.paths.items():
            wanted = [_parts(path) for path in paths]
            meant = [lines for name, lines in lists.items() if _fit(wanted, _below(base, name))]
            listed = {image for lines in meant for line in lines for image in find(line)}
            for image in images:
                if image in listed or _fit(wanted, _below(base, image)[:-1]):
                    told.setdefault(image, set()).add(split)
    if told:
        return {image: next(iter(splits)) for image, splits in told.items() if len(splits) == 1}
    folders = {image: split_of_folders(image.split("/")[:-1]) for image in images}
    return splits_of_lists(images, lists) or {image: split for image, split in folders.items() if split}


def _fit(wanted: Sequence[Sequence[str]], parts: Sequence[str]) -> bool:
    """Whether a path lies where one of the wanted ones leads: has it in it, or begins with the end of it."""
    return any(
        any(parts[at : at + len(path)] == path for at in range(len(parts) - len(path) + 1))
        or any(path[-length:] == parts[:length] for length in range(1, len(path)))
        for path in wanted
    )


def _parts(path: str) -> list[str]:
    parts = path.replace("\\", "/").split("/")
    return [part for part in parts if part not in ("", ".", "..") and not part.endswith(":")]


def _below(base: str, name: str) -> list[str]:
    """Return the parts of a path, relative to the folder `base` where it lies in it."""
    return _parts(name.removeprefix(f"{base}/") if base else name)
