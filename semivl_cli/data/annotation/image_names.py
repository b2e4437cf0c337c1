"""Finds the image that a name in an annotation file means, whatever a tool, a server or a disk did to the name."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath
from urllib.parse import unquote

from semivl_cli.data.ids import composed
from semivl_cli.files import bare

_SERVER = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*/*")
_DATE = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_UPLOADED = re.compile(rf"(?!{_DATE})[0-9a-f]{{8}}(?:-|__)(?=.)")
"""What Label Studio puts before the name of a file that was uploaded (`-`) or exported along (`__`)."""
_TAKEN = re.compile(r"(.+)_[A-Za-z0-9]{7}")
"""What Django makes of a name that is taken or too long: it is cut, and seven random characters follow."""
_KINDS = frozenset(
    (
        *("images", "image", "imgs", "img", "img_dir", "jpegimages", "leftimg8bit"),
        *("masks", "mask", "labels", "label", "annotations", "ann", "ann_dir", "gt", "gtfine", "gtcoarse", "json"),
        *("/", ".."),
    )
)
"""Folders that say what files are, not which."""
_SEVERAL = 100
"""Ids that cannot be told apart are told, but no more than these."""
_FEW = 4
"""So many ids of one name are searched more often without an index."""
_CUT = 60
"""A shorter name is never cut: with its folder, prefix and suffix it stays below Django's 100 characters."""


class ImageNames:
    """The ids of the images there are, which are paths without suffix."""

    def __init__(self, ids: Iterable[str]) -> None:
        """Know `ids`, which are read when they are asked for first."""
        self._ids = ids
        self._ends: dict[tuple[Callable[[str], str], str], _Ends] = {}

    @cached_property
    def _by_last(self) -> Mapping[str, Sequence[str]]:
        """Last part of an id -> the ids that end with it."""
        return _grouped(self._ids, _last)

    @cached_property
    def _exact(self) -> Set[str]:
        return {name for names in self._by_last.values() for name in names}

    @cached_property
    def _alike(self) -> Mapping[str, Sequence[str]]:
        """What is left of the last part of an id by any spelling -> the ids of which that is left, in order."""
        ids = (name for names in self._by_last.values() for name in names)
        return dict(sorted(_grouped(ids, lambda name: _rest(_last(name))).items()))

    @cached_property
    def _rests(self) -> Sequence[str]:
        return list(self._alike)

    def lasts(self) -> Collection[str]:
        """Return the last parts of the ids."""
        return self._by_last.keys()

    def knows(self, name: str) -> bool:
        """Whether an image has exactly this path, whatever its suffix."""
        return bare(name) in self._exact

    def find(self, name: str) -> tuple[str, ...]:
        """Return the ids that a name or path of an image may mean: one, none, or several that cannot be told apart.

        One is the end of the other, folder by folder: `photos/day1/7.jpg` means `day1/7`, and `7.jpg` means `day1/7`
        where no other folder has a `7`; but `day2/7.jpg` does not.

        The name counts as it is written, `%20` and all. Only where no image is called so, it is taken as an address
        with `%20` for blanks, with accents composed or decomposed, as the name of an upload to Label Studio, which
        puts eight digits before it and lets Django replace blanks and drop brackets, and at last without case.
        """
        path = name.replace("\\", "/")
        if self.knows(path):
            return (bare(path),)
        return (
            self._choose(self._by_last, _last(bare(path)), bare(path), str)
            or self._choose(self._by_last, _last(path), path, str)
            or next(filter(None, self._guesses(path)), ())
        )

    def _guesses(self, path: str) -> Iterator[tuple[str, ...]]:
        """Yield what each further reading of a path means, the likeliest first."""
        written = [bare(reading) for reading in dict.fromkeys((path, *_addressed(path)))]
        uploads = list(dict.fromkeys(upload for reading in written for upload in _uploaded(reading)))
        for spell in (composed, _folded):
            for reading in written:
                yield self._choose(self._alike, _rest(_last(reading)), reading, spell)
            for upload in uploads:
                yield self._named(upload, spell)

    def _choose(
        self, groups: Mapping[str, Sequence[str]], group: str, path: str, spell: Callable[[str], str]
    ) -> tuple[str, ...]:
        """Return the ids of a group that a path without suffix may mean where both are spelled alike."""
        ids = groups.get(group, ())
        if len(ids) < _FEW:
            return _Ends(ids, spell).find(_parts(spell(path)))
        if (spell, group) not in self._ends:  # each of a million folders may have an image of one name
            self._ends[spell, group] = _Ends(ids, spell)
        return self._ends[spell, group].find(_parts(spell(path)))

    def _named(self, upload: str, spell: Callable[[str], str]) -> tuple[str, ...]:
        """Return the ids, in whatever folder, that an upload may be called after: its own is lost."""
        wanted = spell(upload)
        ids = self._alike.get(_rest(upload), ())
        same = _some(one for one in ids if wanted in _renamed(one, spell))
        taken = _TAKEN.fullmatch(wanted)
        if same or taken is None:
            return same
        start = taken[1]
        if len(start) < _CUT:
            return _some(one for one in self._alike.get(_rest(start), ()) if start in _renamed(one, spell))
        longer = self._beginning(_rest(start))
        return _some(one for one in longer if any(name.startswith(start) for name in _renamed(one, spell)))

    def _beginning(self, start: str) -> Iterator[str]:
        for place in range(bisect_left(self._rests, start), len(self._rests)):
            if not self._rests[place].startswith(start):
                return
            yield from self._alike[self._rests[place]]


class _Ends:
    """Paths by their ends."""

    def __init__(self, ids: Iterable[str], spell: Callable[[str], str]) -> None:
        self._whole: dict[tuple[str, ...], list[str]] = {}
        self._ends: dict[tuple[str, ...], list[str]] = {}
        for one in ids:
            parts = _parts(spell(one))
            self._whole.setdefault(parts, []).append(one)
            for start in range(len(parts)):
                self._ends.setdefault(parts[start:], []).append(one)

    def find(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Return the ids that are a path, else the longest that it ends with, else those that end with it."""
        for start in range(len(wanted)):  # of `7` and `day1/7`, the path `photos/day1/7` means the second
            if wanted[start:] in self._whole:
                return _some(self._whole[wanted[start:]])
        return _some(self._ends.get(wanted, ()))


def _some(ids: Iterable[str]) -> tuple[str, ...]:
    """Return ids that cannot be told apart, but not more of them than are told."""
    return tuple(islice(ids, _SEVERAL))


def names_picture(text: str) -> bool:
    """Whether a name, a path or an address is that of a picture, by its suffix."""
    path = text.replace("\\", "/")
    return any(bare(reading) != reading for reading in (path, *_addressed(path)))


def _addressed(path: str) -> Iterator[str]:
    """Yield the paths that an address may mean, without its server and query, as it is written and decoded.

    Label Studio's own addresses name the file in their query: `/data/local-files/?d=day1/7.jpg`.
    """
    place, asked, query = _SERVER.sub("", path, count=1).partition("?")
    for key, _, value in (part.partition("=") for part in query.split("&")):
        if key in ("d", "filepath"):
            yield unquote(value).replace("\\", "/")
            yield unquote(value.replace("+", " ")).replace("\\", "/")
        elif key == "fileuri":
            yield from _addressed(_unpacked(unquote(value)))
    if "://" not in path and bare(place) == place:
        place += asked + query  # `?` is part of a name
    elif "#" in place and bare(place) == place:
        place = place.partition("#")[0]
    yield place
    yield unquote(place).replace("\\", "/")


def _unpacked(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""


def _uploaded(path: str) -> Iterator[str]:
    """Yield the names that an upload may have had before, if a path is that of an upload."""
    name = _last(path)
    if "/upload/" in f"/{path}":
        yield name
    while prefix := _UPLOADED.match(name):
        name = name[prefix.end() :]
        yield name


def _renamed(one: str, spell: Callable[[str], str]) -> tuple[str, str]:
    """Return what Django calls an image; of decomposed accents it drops the accent."""
    last = _last(one)
    return spell(_valid(unicodedata.normalize("NFC", last))), spell(_valid(unicodedata.normalize("NFD", last)))


def _valid(name: str) -> str:
    return re.sub(r"[^-\w.]", "", name.replace(" ", "_"))


def _folded(name: str) -> str:
    return composed(unicodedata.normalize("NFD", name).casefold())


def _rest(name: str) -> str:
    """Return what is equal for all names that any spelling makes equal: letters and digits without accents and case."""
    letters = _valid(unicodedata.normalize("NFD", name)).casefold()
    return _valid(unicodedata.normalize("NFD", letters))


def _grouped(ids: Iterable[str], by: Callable[[str], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in ids:
        found.setdefault(by(name), []).append(name)
    return found


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _parts(name: str) -> tuple[str, ...]:
    """Return the folders that tell which file it is, and its name."""
    parts = PurePosixPath(name).parts
    telling = (part for part in parts[:-1] if part.casefold() not in _KINDS)
    return (*telling, *parts[-1:])
