"""Finds the image that a name in an annotation file means."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath

from semivl_cli.data.annotation.tree import bare


class ImageNames:
    """The ids of the images there are, which are paths without suffix."""

    def __init__(self, ids: Iterable[str]) -> None:
        """Know `ids`, which are read when they are asked for first."""
        self._ids = ids

    @cached_property
    def _by_last(self) -> Mapping[str, Sequence[str]]:
        """Last part of an id -> the ids that end with it."""
        found: dict[str, list[str]] = {}
        for name in self._ids:
            found.setdefault(name.rpartition("/")[2], []).append(name)
        return found

    def lasts(self) -> Collection[str]:
        """Return the last parts of the ids."""
        return self._by_last.keys()

    def knows(self, name: str) -> bool:
        """Whether an image has exactly this path, whatever its suffix."""
        return bare(name) in self._by_last.get(bare(name).rpartition("/")[2], ())

    def find(self, name: str) -> tuple[str, ...]:
        """Return the ids that a name or path of an image may mean: one, none, or several that cannot be told apart.

        One is the end of the other, folder by folder: `photos/day1/7.jpg` means `day1/7`, and `7.jpg` means `day1/7`
        where no other folder has a `7`; but `day2/7.jpg` does not.
        """
        name = name.replace("\\", "/")
        wanted = _parts(bare(name)) or _parts(name)
        if not wanted:
            return ()
        ids = self._by_last.get(wanted[-1]) or self._by_last.get(name.rpartition("/")[2]) or []
        exact = tuple(one for one in ids if _parts(one) == wanted)
        if exact:
            return exact
        fitting = [one for one in ids if _is_end(_parts(one), wanted)]
        longest = max((len(_parts(one)) for one in fitting if len(_parts(one)) < len(wanted)), default=0)
        if longest:  # of `7` and `day1/7`, the path `photos/day1/7` means the second
            return tuple(one for one in fitting if len(_parts(one)) == longest)
        return tuple(fitting)


def _parts(name: str) -> tuple[str, ...]:
    """Return the folders and the name, without folders that say what files are, not which."""
    parts = PurePosixPath(name).parts
    telling = (part for part in parts[:-1] if part not in ("images", "labels", "masks", "JPEGImages", "/", ".."))
    return (*telling, *parts[-1:])


def _is_end(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    short, long = sorted((one, other), key=len)
    return long[len(long) - len(short) :] == short
