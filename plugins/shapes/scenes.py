"""Draw the demo's world, a pure function of a seed: patterned shapes, some of them look-alikes, on textured ground.

A concept is a kind of shape. It has an outline, a fine pattern that repeats inside it, and a pair of colours that it
wears four times out of five. No colour and few patterns belong to one kind alone. Each class has a look-alike (a star
beside the polygons, a spade beside the heart), drawn like the rest, but owned by the background. There are more kinds
than a dozen labelled pictures can show in every colour: what they leave open, words can say.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.read.opencv import cv2

Floats = NDArray[np.float32]
Pattern = Callable[[Floats, Floats, float], Floats]
"""Pixel offsets from the centre, right and down, and the period in pixels -> `0..1`, the share of the second colour."""
Circle = tuple[float, float, float]
"""Where an object lies: x, y and radius in pixels."""

CLASSES = ("background", "round", "polygon", "cross", "arrow", "heart")
"""Names in the order of class ids."""

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (208, 44, 40),
    "blue": (44, 84, 206),
    "green": (34, 140, 62),
    "yellow": (240, 208, 44),
    "white": (244, 244, 244),
    "black": (26, 26, 30),
    "purple": (138, 58, 178),
    "orange": (242, 134, 30),
    "pink": (246, 138, 178),
}

GROUNDS = ("grass", "sand", "brick", "water", "wood", "snow")


@dataclass(frozen=True, slots=True)
class Concept:
    """A kind of shape."""

    class_name: str
    """The class it is labelled with."""
    looks_like: str
    """The class whose word a careless person uses for it."""
    colors: tuple[str, str]
    contours: tuple[Floats, ...]
    """Closed polygons in units of the radius, y down; where two overlap is a hole."""
    pattern: Pattern


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """One object of a picture: its concept and the two colours it really has."""

    concept: str
    colors: tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A picture: RGB uint8 `[H, W, 3]`, and what is on it, bottom object first.

    `kinds` uint8 `[H, W]` says of each pixel which concept covers it: its place in `CONCEPTS`, from 1; 0 is ground.
    """

    image: NDArray[np.uint8]
    kinds: NDArray[np.uint8]
    ground: str
    things: tuple[Thing, ...]

    @property
    def label(self) -> NDArray[np.uint8]:
        """Class ids uint8 `[H, W]`."""
        owners = [0, *(CLASSES.index(concept.class_name) for concept in CONCEPTS.values())]
        label: NDArray[np.uint8] = np.array(owners, np.uint8)[self.kinds]
        return label


def scene(seed: int, index: int, size: int = 96) -> Scene:
    """Draw scene `index` of the world `seed`: six or seven objects on one ground, `size` pixels square."""
    rng = np.random.default_rng((seed, index))
    ground = str(rng.choice(GROUNDS))
    canvas = ground_texture(ground, size, rng)
    kinds = np.zeros((size, size), np.uint8)
    things: list[Thing] = []
    taken: list[Circle] = []
    for _ in range(int(rng.integers(6, 8))):
        circle = _free_circle(taken, size, rng)
        if circle is None:
            continue
        taken.append(circle)
        things.append(thing := pick_thing(rng))
        inside = draw(canvas, CONCEPTS[thing.concept], thing.colors, circle, rng)
        kinds[inside] = 1 + list(CONCEPTS).index(thing.concept)
    return Scene(image=develop(canvas, rng), kinds=kinds, ground=ground, things=tuple(things))


def pick_thing(rng: np.random.Generator) -> Thing:
    """Draw a kind (a look-alike in one of three cases, else a class, then one of its concepts) and its colours."""
    class_name = "background" if rng.random() < 1 / 3 else str(rng.choice(CLASSES[1:]))
    kind = str(rng.choice([name for name, concept in CONCEPTS.items() if concept.class_name == class_name]))
    colors = CONCEPTS[kind].colors
    if rng.random() >= 0.8:
        first, second = rng.choice(list(COLORS), 2, replace=False)
        colors = (str(first), str(second))
    return Thing(concept=kind, colors=colors)


def _free_circle(taken: list[Circle], size: int, rng: np.random.Generator) -> Circle | None:
    """Return where an object overlaps the others little, or None after 30 trials."""
    for _ in range(30):
        radius = float(rng.uniform(13, 22))
        x, y = rng.uniform(0.6 * radius, size - 0.6 * radius, 2)
        if all(math.hypot(x - a, y - b) > 0.8 * (radius + r) for a, b, r in taken):
            return float(x), float(y), radius
    return None


def draw(
    canvas: Floats, concept: Concept, colors: tuple[str, str], circle: Circle, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Paint an object onto `canvas` (`[H, W, 3]`, 0..255) in place; return the pixels `[H, W]` that it covers."""
    x, y, radius = circle
    angle = math.radians(rng.uniform(-18, 18))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], np.float32)

    height, width = canvas.shape[:2]
    left, top = max(0, int(x - radius) - 2), max(0, int(y - radius) - 2)
    right, bottom = min(width, int(x + radius) + 3), min(height, int(y + radius) + 3)

    # coverage: drawn at four times the size and averaged, which is exact where a drawn anti-aliased line is not
    fine = np.zeros(((bottom - top) * 4, (right - left) * 4), np.uint8)
    corners = [(c @ turn.T * radius + (x - left, y - top)) * 4 for c in concept.contours]
    cv2.fillPoly(fine, [np.round(c * 16).astype(np.int32) for c in corners], 255, shift=4)
    alpha = cv2.resize(fine, (right - left, bottom - top), interpolation=cv2.INTER_AREA).astype(np.float32) / 255

    v, u = np.mgrid[top:bottom, left:right].astype(np.float32)
    u, v = u + 0.5 - np.float32(x), v + 0.5 - np.float32(y)
    u, v = turn[0, 0] * u + turn[1, 0] * v, turn[0, 1] * u + turn[1, 1] * v
    share = concept.pattern(u, v, float(rng.uniform(4.6, 6.0)))[..., None]
    first, second = (np.array(COLORS[c], np.float32) + rng.normal(0, 9, 3).astype(np.float32) for c in colors)
    light = 1 + np.float32(rng.uniform(-0.14, 0.14)) * (u + v)[..., None] / np.float32(radius)
    paint = (first * (1 - share) + second * share) * light

    patch = canvas[top:bottom, left:right]
    patch += alpha[..., None] * (paint - patch)
    inside = np.zeros((height, width), np.bool_)
    inside[top:bottom, left:right] = alpha > 0.5
    return inside


def develop(canvas: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn `canvas` (`[H, W, 3]`, 0..255) into a photograph: brightness, sensor noise, uint8."""
    noise = rng.standard_normal(canvas.shape, np.float32) * np.float32(rng.uniform(3, 8))
    return np.clip(canvas * np.float32(rng.uniform(0.8, 1.1)) + noise, 0, 255).astype(np.uint8)


# --- grounds ---------------------------------------------------------------------------------------------------------


def ground_texture(name: str, size: int, rng: np.random.Generator) -> Floats:
    """Return a textured ground `[size, size, 3]`, 0..255."""
    y, x = np.mgrid[:size, :size].astype(np.float32) + rng.uniform(0, 64, (2, 1, 1)).astype(np.float32)
    if name == "grass":
        color, relief = (86, 148, 58), 26 * _clouds(size, (1, 3), rng) + 12 * _clouds(size, (12, 12), rng)
    elif name == "sand":
        color, relief = (216, 190, 138), 10 * np.sin(0.5 * y + 3 * _clouds(size, (16, 16), rng)) + _grain(size, 7, rng)
    elif name == "brick":
        shifted = x + 6 * (np.floor(y / 7) % 2)
        mortar = (y % 7 < 1.3) | (shifted % 12 < 1.3)
        color, relief = (158, 78, 62), np.where(mortar, np.float32(52), 9 * _clouds(size, (6, 6), rng))
    elif name == "water":
        swell = 0.75 * y + 2.2 * np.sin(0.22 * x) + 2 * _clouds(size, (12, 12), rng)
        color, relief = (52, 122, 168), 22 * np.sin(swell)
    elif name == "wood":
        color, relief = (148, 102, 62), 20 * np.sin(1.1 * x + 4 * _clouds(size, (24, 6), rng)) + _grain(size, 4, rng)
    else:
        color, relief = (228, 234, 244), 12 * _clouds(size, (10, 10), rng) + _grain(size, 3, rng)
    tint = np.array(color, np.float32) + rng.normal(0, 7, 3).astype(np.float32)
    return np.asarray(tint + relief[..., None], np.float32)


def _grain(size: int, strength: float, rng: np.random.Generator) -> Floats:
    """Return white noise `[size, size]` of standard deviation `strength`."""
    return rng.standard_normal((size, size), np.float32) * np.float32(strength)


def _clouds(size: int, cell: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Return smooth noise `[size, size]` of about -1..1 whose blobs are `cell` (width, height) pixels large."""
    knots = rng.uniform(-1, 1, (size // cell[1] + 3, size // cell[0] + 3)).astype(np.float32)
    blown = cv2.resize(knots, (knots.shape[1] * cell[0], knots.shape[0] * cell[1]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(blown[:size, :size], np.float32)


# --- outlines, in units of the radius --------------------------------------------------------------------------------


def _polygon(*points: tuple[float, float]) -> Floats:
    return np.array(points, np.float32)


def _polar(
    radius: float | NDArray[np.float64], angle: NDArray[np.float64], center: tuple[float, float] = (0.0, 0.0)
) -> Floats:
    """Return the points at these distances from the centre and angles (radians, clockwise from the right)."""
    return np.stack([center[0] + radius * np.cos(angle), center[1] + radius * np.sin(angle)], 1).astype(np.float32)


def _arc(radius: float, start: float, stop: float, center: tuple[float, float] = (0.0, 0.0)) -> Floats:
    """Return 40 points of a circle from angle `start` to `stop` (degrees)."""
    return _polar(radius, np.radians(np.linspace(start, stop, 40)), center)


def _heart() -> Floats:
    t = np.linspace(0, 2 * np.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = -13 * np.cos(t) + 5 * np.cos(2 * t) + 2 * np.cos(3 * t) + np.cos(4 * t)
    return (np.stack([x, y - 2], 1) / 16).astype(np.float32)


def _clover() -> Floats:
    t = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    return _polar(0.7 + 0.32 * np.cos(4 * t), t)


_A, _B = 0.34, 0.98  # half width and length of an arm
_PLUS = _polygon(
    (-_A, -_B), (_A, -_B), (_A, -_A), (_B, -_A), (_B, _A), (_A, _A),
    (_A, _B), (-_A, _B), (-_A, _A), (-_B, _A), (-_B, -_A), (-_A, -_A),
)  # fmt: skip
_SALTIRE = np.asarray(_PLUS @ np.array([[1, 1], [-1, 1]], np.float32) * np.float32(math.sqrt(0.5)), np.float32)
_SQUARE = _polygon((-1, -1), (1, -1), (1, 1), (-1, 1))
_TRIANGLE = _polygon((0, -1), (1, 0.8), (-1, 0.8))
_FRAME = (_SQUARE * np.float32(0.92), _SQUARE * np.float32(0.42))
_ARROW = _polygon((0, -1), (1, 0.05), (0.5, 0.05), (0.5, 1), (-0.5, 1), (-0.5, 0.05), (-1, 0.05))
_CHEVRON = _polygon((0, -0.9), (1, 0), (1, 0.95), (0, 0.05), (-1, 0.95), (-1, 0))
_DIAMOND = _polygon((0, -1.05), (0.75, 0), (0, 1.05), (-0.75, 0))
_DART = _polygon((0, -1), (0.85, 0.95), (0, 0.5), (-0.85, 0.95))
_BOLT = _polygon((0.4, -1), (-0.95, 0.25), (-0.15, 0.25), (-0.4, 1), (0.95, -0.25), (0.15, -0.25))
_OVAL = np.asarray(_arc(1, 0, 360) * np.array([1, 0.66], np.float32), np.float32)
_DOME = _arc(1, 180, 360, (0.0, 0.45))
_CRESCENT = np.concatenate([_arc(1, 46, 314), _arc(0.76, 290, 70, (0.44, 0.0))])
_PENTAGON = _polar(1, 2 * np.pi * np.arange(5) / 5 - np.pi / 2)
_STAR = _polar(np.where(np.arange(10) % 2, 0.5, 1.05), np.radians(np.arange(10) * 36 - 90))
_HEART = _heart()
_STEM = _polygon((-0.3, 1), (0.3, 1))
_SPADE = np.concatenate([_HEART[2:-2] * np.array([0.9, -0.85], np.float32), _STEM])  # open where the stem begins


# --- patterns --------------------------------------------------------------------------------------------------------


def _soft(wave: Floats) -> Floats:
    """Squash a wave of -1..1 into stripes of 0..1 with edges about a pixel wide."""
    return np.asarray(np.clip(0.5 + 1.5 * wave, 0, 1), np.float32)


def _rings(u: Floats, v: Floats, period: float) -> Floats:
    return _soft(np.sin(2 * np.pi / period * np.hypot(u, v)))


def _spokes(u: Floats, v: Floats, period: float) -> Floats:
    count = round(2 * np.pi * 12 / period)  # the period holds 12 pixels from the centre
    return _soft(np.sin(count * np.arctan2(v, u)))


def _stripes(degrees: float, u: Floats, v: Floats, period: float) -> Floats:
    """Draw parallel lines whose normal points `degrees` clockwise from the right."""
    a, b = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return _soft(np.sin(2 * np.pi / period * (a * u + b * v)))


def _checks(u: Floats, v: Floats, period: float) -> Floats:
    return _soft(1.6 * np.sin(2 * np.pi / (1.25 * period) * u) * np.sin(2 * np.pi / (1.25 * period) * v))


def _dots(u: Floats, v: Floats, period: float) -> Floats:
    return _soft(np.cos(2 * np.pi / period * u) + np.cos(2 * np.pi / period * v) - 0.3)


def _net(u: Floats, v: Floats, period: float) -> Floats:
    return _soft(np.maximum(np.cos(2 * np.pi / period * u), np.cos(2 * np.pi / period * v)) - 0.45)


def _zigzag(u: Floats, v: Floats, period: float) -> Floats:
    fold = np.abs((u / (1.6 * period)) % 1 - 0.5) * 1.6 * period
    return _soft(np.sin(2 * np.pi / period * (v - fold)))


def _waves(u: Floats, v: Floats, period: float) -> Floats:
    return _soft(np.sin(2 * np.pi / period * u + 1.4 * np.sin(2 * np.pi / (1.6 * period) * v)))


CONCEPTS: dict[str, Concept] = {
    "disc": Concept("round", "round", ("red", "white"), (_arc(0.95, 0, 360),), _rings),
    "ring": Concept("round", "round", ("blue", "white"), (_arc(1, 0, 360), _arc(0.42, 0, 360)), _spokes),
    "oval": Concept("round", "round", ("pink", "green"), (_OVAL,), _dots),
    "dome": Concept("round", "round", ("orange", "purple"), (_DOME,), _zigzag),
    "triangle": Concept("polygon", "polygon", ("green", "yellow"), (_TRIANGLE,), partial(_stripes, 90)),
    "square": Concept("polygon", "polygon", ("orange", "blue"), (_SQUARE * np.float32(0.85),), _checks),
    "pentagon": Concept("polygon", "polygon", ("red", "blue"), (_PENTAGON,), _net),
    "diamond": Concept("polygon", "polygon", ("white", "pink"), (_DIAMOND,), partial(_stripes, 45)),
    "plus": Concept("cross", "cross", ("white", "green"), (_PLUS,), partial(_stripes, 0)),
    "saltire": Concept("cross", "cross", ("purple", "yellow"), (_SALTIRE,), partial(_stripes, 45)),
    "arrow": Concept("arrow", "arrow", ("black", "yellow"), (_ARROW,), _zigzag),
    "chevron": Concept("arrow", "arrow", ("black", "orange"), (_CHEVRON,), _waves),
    "dart": Concept("arrow", "arrow", ("blue", "pink"), (_DART,), partial(_stripes, 135)),
    "heart": Concept("heart", "heart", ("pink", "red"), (_HEART,), _dots),
    "star": Concept("background", "polygon", ("red", "yellow"), (_STAR,), partial(_stripes, 135)),
    "frame": Concept("background", "polygon", ("purple", "white"), _FRAME, _net),
    "crescent": Concept("background", "round", ("blue", "black"), (_CRESCENT,), _rings),
    "clover": Concept("background", "cross", ("green", "purple"), (_clover(),), _checks),
    "bolt": Concept("background", "arrow", ("yellow", "blue"), (_BOLT,), _waves),
    "spade": Concept("background", "heart", ("black", "white"), (_SPADE,), _dots),
}
"""Every kind of shape by name."""
