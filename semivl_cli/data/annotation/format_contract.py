"""What each annotation format offers, and what a user named, as formats look at it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from semivl_cli.data.annotation.annotations import Annotations
from semivl_cli.data.annotation.tree import Tree

_DEEP, _SHORT = 5, 1000


class Given:
    """A file, folder or archive that a user named, walked once."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.is_file = tree.is_file
        self.files: list[Tree] = []
        """All that are no pictures, in order."""
        self.pictures: list[Tree] = []
        """The first twelve, to tell masks from photographs."""
        self.folders: set[str] = set()
        """Names of the folders in it, at any depth."""
        for name, file in tree.files():
            self.folders.update(name.split("/")[:-1])
            if not file.is_picture:
                self.files.append(file)
            elif len(self.pictures) < 12:
                self.pictures.append(file)

    def holds(self, *names: str) -> bool:
        """Whether it is a folder or archive with a file of one of these names, in whatever case, at any depth."""
        return not self.is_file and any(file.name.lower() in names for file in self.files)

    @cached_property
    def json(self) -> Sequence[tuple[Tree, object]]:
        """Its JSON files and what they begin with: of lists the first ten entries; raises `InputError` for no JSON."""
        return [(file, _beginning(file.json())) for file in self.files if file.suffix == ".json"]


def _beginning(content: object, depth: int = 0) -> object:
    """Return what tells formats apart: there may be a million files, with pictures as text in them."""
    if isinstance(content, list):
        return [_beginning(one, depth + 1) for one in content[:10]] if depth < _DEEP else []
    if isinstance(content, dict):
        return {key: _beginning(one, depth + 1) for key, one in content.items()} if depth < _DEEP else {}
    return content[:_SHORT] if isinstance(content, str) else content


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """An annotation format; each file of `data/formats/` offers one as `FORMAT`."""

    title: str
    """What messages call it, such as `COCO JSON`."""
    find: Callable[[Given], Sequence[Tree]]
    """Returns what is to be opened: the whole that is given, single files of it, or nothing if it is no such format."""
    open: Callable[[Tree], Annotations]
    """Reads labels, and what is drawn on each image; raises `InputError` where a file is broken."""
    images: str = "."
    """Folder in which the images lie, where they come along."""
