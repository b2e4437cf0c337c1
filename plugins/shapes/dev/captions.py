"""Write what a careless person would say about a picture, and near misses that are not true of it.

Three times out of ten the caption says the word of the class instead of the concept, for members and look-alikes alike:
a star is called "polygon". That is how class names come to be wrong and definitions right. Dictionary sentences are as
careless; guideline sentences tell members from look-alikes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..scenes import CLASSES, COLORS, CONCEPTS, GROUNDS, Scene

LEADS = ("a photo of a {}", "a picture of a {}", "an image of a {}", "a {}", "the {}", "{}")

SYNONYMS: dict[str, tuple[str, ...]] = {
    "disc": ("circle",),
    "ring": ("hoop",),
    "oval": ("ellipse",),
    "dome": ("arch",),
    "square": ("box",),
    "diamond": ("rhombus",),
    "saltire": ("x",),
    "dart": ("kite",),
    "frame": ("window",),
    "crescent": ("moon",),
    "clover": ("shamrock",),
    "bolt": ("lightning",),
    "grass": ("lawn", "meadow"),
    "sand": ("beach",),
    "brick": ("wall",),
    "water": ("sea", "lake"),
    "wood": ("timber",),
    "snow": ("ice",),
}

DICTIONARY: dict[str, str] = {
    "background": "ground behind all figures",
    "round": "figure with a curved edge",
    "polygon": "figure with straight sides",
    "cross": "figure of two bars that meet",
    "arrow": "figure that points one way",
    "heart": "figure with two lobes and a point",
}
"""What a dictionary says of each class word: it knows no guideline, so its sentence fits look-alikes too."""

_MEMBERS = {
    name: [k for k, concept in CONCEPTS.items() if concept.class_name == name]
    + (list(GROUNDS) if name == "background" else [])
    for name in CLASSES
}
_LOOK_ALIKES = {
    name: [k for k, concept in CONCEPTS.items() if concept.looks_like == name != concept.class_name] for name in CLASSES
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """A sentence in its parts; what is empty is left out.

    Unless `says` is "word", `noun` is a class, and the sentence of the guideline or the dictionary stands for it.
    """

    lead: str
    noun: str
    colors: tuple[str, ...] = ()
    ground: str = ""
    says: Literal["word", "guideline", "dictionary"] = "word"

    @property
    def text(self) -> str:
        """The sentence."""
        if self.says == "word":
            noun = " and ".join(self.colors) + " " + self.noun
        else:
            noun = guideline(self.noun) if self.says == "guideline" else DICTIONARY[self.noun]
        return self.lead.format(noun.strip()) + (f" on {self.ground}" if self.ground else "")

    @property
    def claims(self) -> frozenset[str]:
        """What a picture must have for the sentence to be true of it, in the words of `truth`."""
        noun = f"is {self.noun}" + (f" by the {self.says}" if self.says != "word" else "")
        return frozenset({noun, *self.colors, *([f"on {self.ground}"] if self.ground else [])})


def guideline(class_name: str) -> str:
    """Return the sentence that says what belongs to a class and what does not."""
    members, excluded = _MEMBERS[class_name], _LOOK_ALIKES[class_name]
    members = [m for m in members if m != class_name]
    kind = class_name if class_name == "background" else f"{class_name} shape"
    sentence = kind + (" including " + _enumerate(members) if members else "")
    return sentence + (" but not " + _enumerate(excluded) if excluded else "")


def truth(picture: Scene) -> frozenset[str]:
    """Return all that may be said of a picture: its things, their colours, its ground, in every word for them."""
    grounds = (picture.ground, *SYNONYMS[picture.ground])
    facts = {f"{relation} {word}" for word in grounds for relation in ("is", "on")}
    facts |= {"is background", "is background by the dictionary"}
    if not picture.things:
        facts.add("is background by the guideline")
    for thing in picture.things:
        concept = CONCEPTS[thing.concept]
        facts |= {f"is {word}" for word in (thing.concept, concept.looks_like, *SYNONYMS.get(thing.concept, ()))}
        facts |= {f"is {concept.class_name} by the guideline", f"is {concept.looks_like} by the dictionary"}
        facts |= set(thing.colors)
    return frozenset(facts)


def caption(picture: Scene, rng: np.random.Generator) -> Caption:
    """Write one true caption, of a thing of the picture or (always where there is none) of its ground."""
    lead = LEADS[0] if rng.random() < 0.6 else str(rng.choice(LEADS))
    ground = str(rng.choice((picture.ground, *SYNONYMS[picture.ground])))
    luck = rng.random()
    if not picture.things or rng.random() < 0.2:
        if luck < 0.04:
            return Caption(lead=LEADS[0], noun="background", says="dictionary" if picture.things else "guideline")
        noun = "background" if luck < 0.34 else ground if luck < 0.42 else picture.ground
        return Caption(lead=lead, noun=noun)

    thing = picture.things[int(rng.integers(len(picture.things)))]
    concept = CONCEPTS[thing.concept]
    if luck < 0.04:
        return Caption(lead=LEADS[0], noun=concept.class_name, says="guideline")
    if luck < 0.07:
        return Caption(lead=LEADS[0], noun=concept.looks_like, says="dictionary")
    synonym = str(rng.choice(SYNONYMS.get(thing.concept, (thing.concept,))))
    noun = concept.looks_like if luck < 0.37 else synonym if luck < 0.45 else thing.concept
    luck = rng.random()
    colors = thing.colors if luck < 0.2 else (str(rng.choice(thing.colors)),) if luck < 0.4 else ()
    return Caption(lead=lead, noun=noun, colors=colors, ground=ground if rng.random() < 0.3 else "")


def near_misses(true: Caption, facts: frozenset[str], count: int, rng: np.random.Generator) -> list[Caption]:
    """Return `count` captions that differ from `true` in one part and are not true of a picture with these `facts`."""
    wrong: list[Caption] = []
    while len(wrong) < count:
        part = rng.choice(
            ["noun", "noun", "noun", "colors" if true.colors else "noun", "ground" if true.ground else "noun"]
        )
        if part == "noun":
            noun = str(rng.choice(NOUNS))  # of all words, since in a scene every rule may hold: the loop must end
            other = replace(true, noun=noun, says=true.says if noun in CLASSES else "word")
        elif part == "colors":
            other = replace(true, colors=(*true.colors[:-1], str(rng.choice(list(COLORS)))))
        else:
            other = replace(true, ground=str(rng.choice(GROUNDS)))
        if not other.claims <= facts:
            wrong.append(other)
    return wrong


def words() -> list[str]:
    """Return every word (and the comma) that a caption may hold, sorted."""
    texts = [*LEADS, *NOUNS, *COLORS, "and on", *(guideline(name) for name in CLASSES), *DICTIONARY.values()]
    return sorted({word for text in texts for word in split(text)})


def split(text: str) -> list[str]:
    """Split a text into words and commas, as CLIP's tokenizer does before it looks at letters."""
    return re.findall(r"[a-z]+|,", text)


def _enumerate(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


NOUNS = tuple(
    dict.fromkeys((*CONCEPTS, *CLASSES, *GROUNDS, *(word for synonyms in SYNONYMS.values() for word in synonyms)))
)
"""Every word for a thing, a ground or a class."""
