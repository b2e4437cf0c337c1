"""Draw small pictures of one object each, with which the training of the tiny CLIP begins."""

from __future__ import annotations

import numpy as np

from ..scenes import CONCEPTS, GROUNDS, Scene, Thing, develop, draw, ground_texture, pick_thing


def closeup(rng: np.random.Generator, size: int = 32, empty: float = 0.2) -> Scene:
    """Draw one object in the middle of a small picture, or, with probability `empty`, only ground."""
    ground = str(rng.choice(GROUNDS))
    canvas = ground_texture(ground, size, rng)
    kinds = np.zeros((size, size), np.uint8)
    things: list[Thing] = []
    if rng.random() >= empty:
        things.append(thing := pick_thing(rng))
        x, y = rng.uniform(0.36, 0.64, 2) * size
        inside = draw(canvas, CONCEPTS[thing.concept], thing.colors, (x, y, float(rng.uniform(10, 20))), rng)
        kinds[inside] = 1 + list(CONCEPTS).index(thing.concept)
    return Scene(image=develop(canvas, rng), kinds=kinds, ground=ground, things=tuple(things))
