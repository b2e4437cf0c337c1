"""Which image, and perhaps which class of it, the name of a mask means."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from semivl_cli.data.annotation.annotations import plain_name
from semivl_cli.data.annotation.image_names import ImageNames
from semivl_cli.files import bare

_SIGNS = "_-. "
"""What an ending begins with."""
_TRIED = 50
"""Names that an ending is tried on before all are."""


class Affixes(NamedTuple):
    """What names end in: those of `7_mask.png` and `7_sat.jpg` in `_mask` and `_sat`; `None` where nobody says it."""

    mask: str | None = None
    image: str | None = None


DETECTED = Affixes()


def image_of(name: str, affixes: Affixes) -> str | None:
    """Return the image of a mask by what both names end in; nothing where that of the mask does not end so."""
    mask, image = affixes.mask or "", affixes.image or ""
    stem, suffix = bare(name), name[len(bare(name)) :]
    if not stem.endswith(mask) or stem.rpartition("/")[2] == mask:
        return None
    return stem[: len(stem) - len(mask)] + image + suffix


def shared_affixes(names: Sequence[str], images: ImageNames) -> Affixes | None:
    """Return what the names of masks and images end in, where all masks and all images end alike.

    More than half of the masks must belong to an image by that: one too many is a mask without image.
    """
    mask_ends = _ends([bare(name).rpartition("/")[2] for name in names])
    image_ends = _ends(images.lasts())
    candidates = [Affixes(mask, image) for mask in mask_ends for image in image_ends if mask or image]

    def fit(affixes: Affixes, some: Sequence[str]) -> bool:
        return sum(len(images.find(image_of(name, affixes) or "")) == 1 for name in some) * 2 > len(some)

    candidates.sort(key=lambda one: len(one.mask or "") + len(one.image or ""))
    return next((one for one in candidates if fit(one, names[:_TRIED]) and fit(one, names)), None)


def likely_affixes(names: Sequence[str], images: ImageNames) -> list[Affixes]:
    """Return what names of masks that belong to no image may have beyond those of images, each once."""
    ends = _ends(images.lasts())
    found: dict[Affixes, None] = {}
    for stem in map(bare, names[:_TRIED]):
        cuts = [at for at in range(len(stem) - 1, stem.rfind("/") + 1, -1) if stem[at] in _SIGNS]
        likely = (Affixes(stem[at:], end) for at in cuts for end in ends if len(images.find(stem[:at] + end)) == 1)
        found.update(dict.fromkeys(list(likely)[:1]))
    return list(found)


def _ends(names: Collection[str]) -> list[str]:
    """Return nothing, and what all names end in that begins with a sign, the shortest first."""
    if not names:
        return [""]
    turned = [name[::-1] for name in names]
    first, last = min(turned), max(turned)
    same = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return ["", *(first[: at + 1][::-1] for at in range(min(same, len(first))) if first[at] in _SIGNS)]


def layer_of(name: str, class_names: Sequence[str], images: ImageNames) -> tuple[str, str] | None:
    """Return the image and the class that a name tells, if it tells one of each."""
    labels = _by_spelling(tuple(class_names))
    found: dict[tuple[str, str], str] = {}
    for word, image in _divided(bare(name)):
        of_word = labels.get(plain_name(word), ())
        ids = images.find(image) if image and of_word else ()
        if len(ids) == 1 and word not in ids[0].split("/")[:-1]:  # there it is a folder of images
            found.update({(ids[0], label): image for label in ([word] if word in of_word else of_word)})
    return next(((image, label) for (_, label), image in found.items()), None) if len(found) == 1 else None


@cache
def _by_spelling(class_names: tuple[str, ...]) -> Mapping[str, Sequence[str]]:
    """Return the classes by what their names are compared by."""
    found: dict[str, list[str]] = {}
    for label in class_names:
        found.setdefault(plain_name(label), []).append(label)
    return found


def _divided(stem: str) -> Iterator[tuple[str, str]]:
    """Yield every word that may be the class in a name, and what is then the image."""
    folder, _, last = stem.rpartition("/")
    first, _, rest = stem.partition("/")
    yield last, folder
    yield first, rest
    for at in (at for at, sign in enumerate(last) if sign in "_-."):
        yield last[at + 1 :], stem[: at - len(last)]
        yield last[:at], f"{folder}/{last[at + 1 :]}".lstrip("/")
