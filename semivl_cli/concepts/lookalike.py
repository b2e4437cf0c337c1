"""Finds texts that a reader takes for one another: they differ in case, signs, number or spelling alone."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

_LONGEST_NAME = 60  # longer texts are sentences, not names
_SHORTEST_TYPO = 8  # one letter makes another word of a shorter one (car, cat), the first letter of most (mountain)
_PLURALS = (("", "s"), ("", "es"), ("y", "ies"), ("f", "ves"), ("fe", "ves"))  # ends of one and of many
_AMERICAN = (("our", "or"), ("grey", "gray"), ("tyre", "tire"), ("kerb", "curb"), ("aero", "air"), ("centre", "center"))


def find_lookalikes(texts: Sequence[str]) -> list[tuple[int, int, str]]:
    """Find pairs of look-alike texts.

    Returns:
        `(i, j, what tells texts[i] and texts[j] apart)` with `i < j`, each pair once. Equal texts are no look-alikes.
    """
    found: dict[tuple[int, int], str] = {}
    for difference, one, two in _candidates(texts):
        if texts[one] != texts[two]:
            found.setdefault((min(one, two), max(one, two)), difference)
    return [(one, two, difference) for (one, two), difference in sorted(found.items())]


def _candidates(texts: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Yield `(difference, i, j)`, some of them twice; the plainest difference of a pair comes first."""
    names = [(index, text) for index, text in enumerate(texts) if len(text) <= _LONGEST_NAME]
    lower = _by_key((index, text.lower()) for index, text in names)
    bare = _by_key((index, _bare(text)) for index, text in names)
    for difference, groups in (("case", lower), ("spaces or signs", bare)):
        yield from ((difference, one, two) for group in groups.values() for one in group for two in group)
    for one, text in names:
        for difference, other in _respellings(text):
            yield from ((difference, one, two) for two in bare.get(_bare(other), []))
    with_gap = _by_key((index, gap) for index, text in names for gap in _gaps(_bare(text)))
    for one, text in names:
        for gap in _gaps(_bare(text)):
            yield from (("one letter", one, two) for two in with_gap[gap])  # replaced
        for other in _shorter_or_swapped(_bare(text)):
            yield from (("one letter", one, two) for two in bare.get(other, []))


def _by_key(keyed: Iterable[tuple[int, str]]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index, key in keyed:
        groups[key].append(index)
    return groups


def _bare(text: str) -> str:
    """Drop case, spaces and signs: "Traffic-Light" and "traffic light" become the same."""
    return re.sub(r"[\W_]+", "", text.lower()) or text


def _respellings(text: str) -> Iterator[tuple[str, str]]:
    """Yield the text with one word in the plural, and in American spelling."""
    words = text.lower().split()
    for index, word in enumerate(words):
        for end, plural_end in _PLURALS:
            if word.endswith(end):
                plural = word.removesuffix(end) + plural_end
                yield "singular and plural", " ".join([*words[:index], plural, *words[index + 1 :]])
    for british, american in _AMERICAN:
        yield "British and American spelling", text.lower().replace(british, american)


def _gaps(text: str) -> Iterator[str]:
    """Yield the text with each letter but the first blotted out; texts that share one differ in that letter."""
    if len(text) >= _SHORTEST_TYPO:
        for position in range(1, len(text)):
            yield f"{text[:position]} {text[position + 1 :]}"


def _shorter_or_swapped(text: str) -> Iterator[str]:
    """Yield the text with each letter but the first dropped, or swapped with the next."""
    if len(text) >= _SHORTEST_TYPO:
        for position in range(1, len(text)):
            yield text[:position] + text[position + 1 :]
            yield text[:position] + text[position : position + 2][::-1] + text[position + 2 :]
