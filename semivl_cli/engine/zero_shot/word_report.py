"""From counted pixels to what people read: scores of classes and concepts, what to fix first, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from semivl_cli.engine.zero_shot.word_counts import Counts
from semivl_cli.model.guidance import Aggregate

WORTH = 0.005
"""mIoU, 0..1, from which a change is proposed: less is noise on a few images."""

_FAINT = 0.1
"""Coverage of a class below which guidance is said to pass it by."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClassFinding:
    """How well the words of a class find it; shares are 0..1, `None` where nothing was there to count.

    So the IoU of a class that the labels do not show, whatever is taken for it: what is, its own class has missed.
    """

    name: str
    pixels: int
    """Labelled pixels."""
    iou: float | None
    """Of the most probable class, whatever its confidence."""
    found: float | None
    """Share of its pixels of which it is the most probable class."""
    coverage: float | None
    """Share of its pixels that guidance labels rightly: it is the most probable class, with at least zeta."""
    precision: float | None
    """Share of the pixels that guidance gives to it that are its own."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How good a definition is, as shares 0..1; of a change, how much better."""

    miou: float
    """Of the most probable classes, over the classes that the labels show."""
    taught: float
    """mIoU of what guidance teaches: a pixel below zeta counts as missed."""
    coverage: float
    """Share of all pixels that guidance labels rightly."""
    precision: float
    """Share of the pixels that guidance labels that it labels rightly."""

    @property
    def worth(self) -> float:
        """By what changes are compared: training sees `taught`; `miou` also sees what is nearly sure."""
        return (self.miou + self.taught) / 2

    def minus(self, before: Quality) -> Quality:
        """What a change brought."""
        old = asdict(before)
        return Quality(**{name: value - old[name] for name, value in asdict(self).items()})


@dataclass(frozen=True, kw_only=True)
class ConceptFinding:
    """What one concept does; shares are 0..1."""

    text: str
    class_name: str
    won: int
    """Pixels that it wins, whatever the confidence."""
    pixels: int
    """Those of at least zeta."""
    coverage: float | None
    """Share of its class's pixels that are its own `pixels`; the concepts of a class add up to the class's coverage."""
    precision: float | None
    """Share of its `pixels` that are of its class."""
    without: Quality | None
    """What leaving it out would change, computed anew; `None` for the only concept of a class."""
    better_in: str | None
    """Another class in which it would serve better than in its own and than left out; `None`: there is none."""
    moved: Quality | None
    """What moving it there would change, estimated from the pixels that it wins now."""

    @property
    def change(self) -> Quality | None:
        """What the better of moving it and leaving it out would change."""
        return self.moved or self.without


@dataclass(frozen=True, kw_only=True)
class Theft:
    """Pixels of a class that a concept of another class wins."""

    concept: str
    class_name: str
    victim: str
    pixels: int
    share: float
    """Of the labelled pixels of the victim, 0..1."""
    sure: float
    """Share of these pixels whose confidence reaches zeta: guidance would teach them."""
    astray: float
    """Share of these pixels that are more than a patch away from the concept's class: no matter of blurred borders."""
    cost: float
    """mIoU, 0..1, that would be gained if the pixels astray were right."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that was found; what should be looked at first stands first."""

    quality: Quality
    classes: tuple[ClassFinding, ...]
    concepts: tuple[ConceptFinding, ...]
    thefts: tuple[Theft, ...]
    advice: tuple[str, ...]
    """One sentence a problem."""


def judge(
    counts: Counts, texts: Sequence[str], class_of_text: Sequence[int], names: Sequence[str], aggregate: Aggregate
) -> Findings:
    """Judge the words by the pixels of all labelled images: concepts `texts [K]` of the classes `names [N]`.

    `aggregate`: of the guidance; with `probability`, concepts of one class share their probability.
    """
    won, sure, astray = (table.cpu().numpy() for table in (counts.won, counts.sure, counts.astray))
    owner = np.asarray(class_of_text)
    total = won.sum(axis=1)  # [N]
    matrix, taught = _by_class(won, owner), _by_class(sure, owner)
    quality, sampled = _quality(matrix, taught), _quality(*counts.sampled.cpu().numpy())
    classes = tuple(
        ClassFinding(
            name=name,
            pixels=int(total[n]),
            iou=_share(matrix[n, n], matrix[n].sum() + matrix[:, n].sum() - matrix[n, n]) if total[n] else None,
            found=_share(matrix[n, n], total[n]),
            coverage=_share(taught[n, n], total[n]),
            precision=_share(taught[n, n], taught[:, n].sum()),
        )
        for n, name in enumerate(names)
    )
    concepts = []
    for k, (text, n) in enumerate(zip(texts, class_of_text, strict=True)):
        without, better_in, moved = None, None, None
        if (owner == n).sum() > 1:
            without = _quality(*counts.without[k].cpu().numpy()).minus(sampled)
            changes = [(m, _moved(won, sure, owner, k, m).minus(quality)) for m in range(len(names)) if m != n]
            best, change = max(changes, key=lambda pair: pair[1].worth)
            if change.worth > max(without.worth, 0):
                better_in, moved = names[best], change
        concepts.append(
            ConceptFinding(
                text=text,
                class_name=names[n],
                won=int(won[:, k].sum()),
                pixels=int(sure[:, k].sum()),
                coverage=_share(sure[n, k], total[n]),
                precision=_share(sure[n, k], sure[:, k].sum()),
                without=without,
                better_in=better_in,
                moved=moved,
            )
        )
    thefts = _thefts(won, sure, astray, owner, texts, names)
    return Findings(
        quality=quality,
        classes=classes,
        concepts=tuple(sorted(concepts, key=_gain, reverse=True)),
        thefts=thefts,
        advice=_advice(classes, concepts, thefts, aggregate),
    )


def _advice(
    classes: Sequence[ClassFinding],
    concepts: Sequence[ConceptFinding],
    thefts: Sequence[Theft],
    aggregate: Aggregate,
) -> tuple[str, ...]:
    guilty = {(concept.text, concept.class_name): concept for concept in concepts if _gain(concept) >= WORTH}
    found = [(_gain(one), f'"{one.text}" ({one.class_name}): {_remedy(one)}') for one in guilty.values()]
    for theft in thefts:
        if theft.cost >= WORTH and (theft.concept, theft.class_name) not in guilty:
            takes = f'"{theft.concept}" ({theft.class_name}) takes {100 * theft.share:.0f} % of {theft.victim}'
            advice = f"a concept of {theft.victim} that names what it takes there may help"
            found.append((theft.cost, f"{takes}, which costs {100 * theft.cost:.1f} mIoU: {advice}"))
    sentences = [sentence for _, sentence in sorted(found, key=lambda pair: -pair[0])]
    for item in classes:
        if item.coverage is not None and item.found is not None and item.coverage < _FAINT:
            advice = "describe it by other words"
            if item.found > 2 * _FAINT:
                shared = "words that mean the same share their probability: keep the best, or "
                several = sum(concept.class_name == item.name for concept in concepts) > 1
                advice = f"{shared if several and aggregate == 'probability' else ''}lower guidance.zeta"
            shares = f"{100 * item.coverage:.0f} % of {item.name} (and sees {100 * item.found:.0f} %)"
            sentences.append(f"guidance is sure of {shares}: {advice}")
    shown = {item.name for item in classes if item.pixels}
    if silent := [f'"{concept.text}"' for concept in concepts if not concept.won and concept.class_name in shown]:
        sentences.append(f"won no pixel: {', '.join(silent)}: not on these images, or CLIP knows it by another word")
    return tuple(sentences)


def _remedy(concept: ConceptFinding) -> str:
    own = "" if concept.precision is None else f"{100 * concept.precision:.0f} % of what it labels is its own; "
    what = f"as a concept of {concept.better_in} mIoU about" if concept.moved else "without it mIoU"
    assert concept.change is not None
    return f"{own}{what} {100 * concept.change.miou:+.1f}, of what guidance teaches {100 * concept.change.taught:+.1f}"


def _gain(concept: ConceptFinding) -> float:
    """What a change would bring; negative where the concept is needed."""
    return concept.change.worth if concept.change else -1.0


def _thefts(
    won: Numbers, sure: Numbers, astray: Numbers, owner: NDArray[np.int64], texts: Sequence[str], names: Sequence[str]
) -> tuple[Theft, ...]:
    matrix = _by_class(won, owner)
    before = _miou(matrix)
    found = []
    for victim, k in zip(*np.nonzero(won), strict=True):
        if owner[k] == victim:
            continue
        righted = matrix.copy()
        righted[victim, owner[k]] -= astray[victim, k]
        righted[victim, victim] += astray[victim, k]
        pixels = int(won[victim, k])
        found.append(
            Theft(
                concept=texts[k],
                class_name=names[owner[k]],
                victim=names[victim],
                pixels=pixels,
                share=pixels / int(won[victim].sum()),
                sure=int(sure[victim, k]) / pixels,
                astray=int(astray[victim, k]) / pixels,
                cost=_miou(righted) - before,
            )
        )
    return tuple(sorted(found, key=lambda theft: (-theft.cost, -theft.pixels)))


def _moved(won: Numbers, sure: Numbers, owner: NDArray[np.int64], concept: int, class_id: int) -> Quality:
    """Judge the words with a concept in another class, where it goes on winning its pixels."""
    moved = owner.copy()
    moved[concept] = class_id
    return _quality(_by_class(won, moved), _by_class(sure, moved))


def _by_class(table: Numbers, owner: NDArray[np.int64]) -> Numbers:
    """Pixels by true class and concept `[N, K]` -> by true and predicted class `[N, N]`."""
    matrix = np.zeros((len(table), len(table)), np.int64)
    np.add.at(matrix.T, owner, table.T)
    return matrix


def _quality(matrix: Numbers, taught: Numbers) -> Quality:
    """Judge pixels by true and predicted class `[N, N]`: all of them, and those that reach zeta."""
    total = matrix.sum()
    return Quality(
        miou=_miou(matrix),
        taught=_miou(taught, matrix.sum(axis=1)),
        coverage=_share(np.trace(taught), total) or 0.0,
        precision=_share(np.trace(taught), taught.sum()) or 0.0,
    )


def _miou(matrix: Numbers, total: Numbers | None = None) -> float:
    """Mean IoU, 0..1, over the classes that are there; `total`: labelled pixels of each, also those not in `matrix`."""
    labeled = matrix.sum(axis=1) if total is None else total
    there = labeled > 0
    right = np.diag(matrix)
    union = matrix.sum(axis=0) + labeled - right
    return float((right[there] / union[there]).mean()) if there.any() else 0.0


def _share(part: np.int64, whole: np.int64) -> float | None:
    return int(part) / int(whole) if whole else None
