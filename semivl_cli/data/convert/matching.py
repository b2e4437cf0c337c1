"""Which image each drawing of the sources belongs to, before anything is painted."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from semivl_cli.data.annotation.annotations import Annotations, Drawing
from semivl_cli.data.annotation.exported_split import ExportedSplit, split_of_folders
from semivl_cli.data.annotation.image_names import ImageNames
from semivl_cli.data.formats.mask_names import likely_affixes
from semivl_cli.errors import InputError, listed

_GONE = object()
_OF_TASK = re.compile(r"(?:\A|/)task-\d+-annotation-\d+-")


@dataclass(slots=True)
class Matches:
    """What the names in the sources mean."""

    sources: Sequence[Annotations]
    image_of: list[list[str | None]] = field(default_factory=list)
    """For each source the id of the image of each of its drawings; nothing where no image, or more than one, fits."""
    count: dict[str, int] = field(default_factory=dict)
    """Id of an image -> how many drawings count."""
    splits: dict[str, ExportedSplit] = field(default_factory=dict)
    """Id of an image -> what the exporter held it for."""
    unmatched: list[str] = field(default_factory=list)
    """Images that are drawn and not there, as the sources call them."""
    problems: list[str] = field(default_factory=list)
    """One line for each of them, and for drawings on images that a source does not name."""
    notes: list[str] = field(default_factory=list)
    parts: set[str] = field(default_factory=set)
    """The files that draw one image each; the masks remember them."""

    def drawings(self) -> Iterator[tuple[int, Drawing, str]]:
        """Yield every drawing that counts with the number of its source and the id of its image.

        Raises:
            InputError: if a source has other drawings than before.
        """
        for number, source in enumerate(self.sources):
            for drawing, image in zip_longest(source.drawings(), self.image_of[number], fillvalue=_GONE):
                if drawing is _GONE or image is _GONE:
                    raise InputError(f"{source.where} changed while it was read: run the command again")
                if isinstance(drawing, Drawing) and isinstance(image, str):
                    yield number, drawing, image


def match_images(sources: Sequence[Annotations], names: ImageNames, homes: Sequence[str] = ()) -> Matches:
    """Find the image of every drawing.

    An image may be drawn several times, in files of one class each. But the masks that a source holds for whole images
    count once: of two the first; and what a source that `prevails` draws is left out of later ones.

    Args:
        sources: of drawings.
        names: of the images.
        homes: what the ids of the images begin with that came along with each source, or nothing.
    """
    matches = Matches(sources)
    prevailing: set[str] = set()
    masks: list[str] = []
    for source, home in zip(sources, homes or [""] * len(sources), strict=True):
        found: list[str | None] = []
        whole: set[str] = set()
        again: list[str] = []
        for drawing in source.drawings():
            matches.parts.update(drawing.stamps())
            ids = _likeliest(drawing, names, home, {*homes} - {home, ""})
            if len(ids) != 1:
                why = f"it could be {' or '.join(ids[:3])}" if ids else "no such image"
                matches.unmatched.append(drawing.image)
                if drawing.picture is not None:
                    masks.append(drawing.image)
                shown = "\\n".join(drawing.image.splitlines())
                matches.problems.append(f"{drawing.origin}: {shown}: {why}")
                found.append(None)
            elif ids[0] in prevailing or ids[0] in whole:
                again.append(drawing.origin)
                found.append(None)
            else:
                found.append(ids[0])
                matches.count[ids[0]] = matches.count.get(ids[0], 0) + 1
                if drawing.picture is not None:
                    whole.add(ids[0])
                if drawing.split is not None:
                    matches.splits.setdefault(ids[0], drawing.split)
        if source.prevails:
            prevailing.update(image for image in found if image is not None)
        matches.image_of.append(found)
        matches.problems.extend(source.strays)
        if again:
            matches.notes.append(f"{len(again)} images are drawn twice: the first counts, not {again[0]}")
    if any(map(_OF_TASK.search, masks)):
        matches.notes.append(
            "names such as task-1-annotation-2-... are of Label Studio's export as PNG, which does not say which image "
            "a mask belongs to: export JSON from there"
        )
    likely = likely_affixes(masks, names)
    if likely:
        ends = listed([repr(affixes.mask) for affixes in likely], 5)
        image = f' and image_suffix = "{likely[0].image}"' if likely[0].image else ""
        matches.notes.append(
            f"names of masks without image end in {ends}: if such are masks of images, say in dataset.toml which, such "
            f'as mask_suffix = "{likely[0].mask}"{image}'
        )
    return matches


def _likeliest(drawing: Drawing, names: ImageNames, home: str, others: Collection[str]) -> Sequence[str]:
    """Return the ids of the images that a drawing may mean; of several ways to read its name the first that is sure."""
    first = _near(names.find(drawing.image), home, others, drawing.split)
    readings = ([f"{home}/{drawing.image}"] if first and home else []) + ([drawing.or_else] if drawing.or_else else [])
    found = (_near(names.find(name), home, others, drawing.split) for name in readings)
    return first if len(first) == 1 else next((ids for ids in found if len(ids) == 1), first)


def _near(ids: Sequence[str], home: str, others: Collection[str], split: ExportedSplit | None) -> Sequence[str]:
    """Return those of several ids that came along with the source, and of these those in the folder of the split.

    What came along with another source is not meant.
    """
    if home:
        own = [one for one in ids if one.startswith(f"{home}/")]
        ids = own or [one for one in ids if not any(one.startswith(f"{other}/") for other in others)]
    if len(ids) > 1 and split is not None:  # `images/train/`
        ids = [one for one in ids if split_of_folders(one.split("/")[:-1]) == split] or ids
    return ids
