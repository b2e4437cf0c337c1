"""Tells what changed in meaning between two definitions: words that joined, left or moved, and what became of ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from semivl_cli.concepts.prompts import as_read
from semivl_cli.concepts.schema import ClassDefinition, Definition

SENTENCES = {
    "class-removed": "class {before} is gone",
    "class-added": "class {after} is new",
    "class-renamed": "class {before} is now called {after}",
    "class-order": "ids changed, masks of the old order do not fit: {before} -> {after}",
    "concept-moved": '"{concept}" moved from {before} to {after}',
    "concept-removed": '{before} lost the concept "{concept}"',
    "concept-added": '{after} gained the concept "{concept}"',
    "exclude-removed": '{class_name} no longer excludes "{before}"',
    "exclude-added": '{class_name} now excludes "{after}"',
    "color": "{class_name} changed colour: {before} -> {after}",
    "guideline": '{class_name} changed its guideline: "{before}" -> "{after}"',
    "template-removed": 'template "{before}" is gone',
    "template-added": 'template "{after}" is new',
    "published": '"{concept}" is published as {after}, was {before}',
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change, from what to what; `None` where there was or is nothing.

    `before` and `after` hold what changed: a class, a text, a colour; for a concept, the class that owns it.
    """

    kind: str
    """A key of `SENTENCES`."""
    class_name: str | None = None
    """The class, by its new name, whose excludes, colour or guideline changed."""
    concept: str | None = None
    """The concept that changed its class; or the text whose published spelling changed."""
    before: str | None = None
    after: str | None = None

    @property
    def sentence(self) -> str:
        """The change in words."""
        before, after = ("nothing" if value is None else value for value in (self.before, self.after))
        return SENTENCES[self.kind].format(class_name=self.class_name, concept=self.concept, before=before, after=after)


def diff(old: Definition, new: Definition) -> list[Change]:
    """List the changes from `old` to `new`, classes first.

    A class is the same if its name is. One that vanished and one that came are a renaming if they share at least half
    of their concepts, or one concept and the colour. Case and spacing are no change: CLIP does not see them.
    """
    renamed = _renamed(old, new)
    same = {name: name for name in old.names if name in new.names} | renamed
    olds, news = ({item.name: item for item in definition.classes} for definition in (old, new))
    return [
        *(Change(kind="class-removed", before=name) for name in old.names if name not in same),
        *(Change(kind="class-added", after=name) for name in new.names if name not in same.values()),
        *(Change(kind="class-renamed", before=name, after=to) for name, to in renamed.items()),
        *_order(old, new, same),
        *_concepts(old, new, same),
        *(change for name, to in same.items() for change in _within(olds[name], news[to])),
        *_lists("template-removed", "template-added", None, old.templates, new.templates),
        *(
            Change(kind="published", concept=text, before=old.published.get(text), after=new.published.get(text))
            for text in old.published | new.published
            if old.published.get(text) != new.published.get(text)
        ),
    ]


def _renamed(old: Definition, new: Definition) -> dict[str, str]:
    """Pair vanished classes with new ones by what they share."""
    came = [item for item in new.classes if item.name not in old.names]
    pairs: dict[str, str] = {}
    for gone in old.classes:
        for item in came if gone.name not in new.names else ():
            shared, either = _words(gone) & _words(item), _words(gone) | _words(item)
            if shared and (2 * len(shared) >= len(either) or gone.color == item.color):
                pairs[gone.name] = item.name
                came.remove(item)
                break
    return pairs


def _words(item: ClassDefinition) -> set[str]:
    return {as_read(text) for text in item.concepts}


def _order(old: Definition, new: Definition, same: dict[str, str]) -> Iterator[Change]:
    ids = [(to, old.names.index(name), new.names.index(to)) for name, to in same.items()]
    moved = [(name, before, after) for name, before, after in ids if before != after]
    if moved:
        yield Change(
            kind="class-order",
            before=", ".join(f"{before} {name}" for name, before, _ in moved),
            after=", ".join(f"{after} {name}" for name, _, after in moved),
        )


def _concepts(old: Definition, new: Definition, same: dict[str, str]) -> Iterator[Change]:
    """Compare who owns which concept: one that leaves a class and joins another has moved.

    What comes or goes with a whole class is told by the class, unless it moved.
    """
    before, after = _owners(old), _owners(new)
    for key in before | after:
        spelling, old_owners = before.get(key, ("", []))
        spelling, new_owners = after.get(key, (spelling, []))
        left = [name for name in old_owners if same.get(name) not in new_owners]
        joined = [name for name in new_owners if name not in [same.get(owner) for owner in old_owners]]
        for source, target in zip_longest(left, joined):
            if source is not None and target is not None:
                yield Change(kind="concept-moved", concept=spelling, before=same.get(source, source), after=target)
            elif source in same:
                yield Change(kind="concept-removed", concept=spelling, before=same[source])
            elif target in same.values():
                yield Change(kind="concept-added", concept=spelling, after=target)


def _owners(definition: Definition) -> dict[str, tuple[str, list[str]]]:
    """Map each concept, as CLIP reads it, to its spelling and the classes that own it."""
    owners: dict[str, tuple[str, list[str]]] = {}
    for item in definition.classes:
        for text in item.concepts:
            owners.setdefault(as_read(text), (text, []))[1].append(item.name)
    return owners


def _within(old: ClassDefinition, new: ClassDefinition) -> Iterator[Change]:
    yield from _lists("exclude-removed", "exclude-added", new.name, old.excludes, new.excludes)
    if old.color != new.color:
        before, after = (f"#{bytes(color).hex()}" for color in (old.color, new.color))
        yield Change(kind="color", class_name=new.name, before=before, after=after)
    if old.guideline != new.guideline:
        yield Change(kind="guideline", class_name=new.name, before=old.guideline, after=new.guideline)


def _lists(
    removed: str, added: str, class_name: str | None, old: Sequence[str], new: Sequence[str]
) -> Iterator[Change]:
    before, after = ({as_read(text): text for text in texts} for texts in (old, new))
    yield from (Change(kind=removed, class_name=class_name, before=before[key]) for key in before if key not in after)
    yield from (Change(kind=added, class_name=class_name, after=after[key]) for key in after if key not in before)
