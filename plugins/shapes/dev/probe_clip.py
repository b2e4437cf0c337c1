"""Ask the tiny CLIP what it reads, colours, pattern or outline: `python -m semivl_plugins.shapes.dev.probe_clip`.

One object alone on a ground, each kind equally often. Part of it is taken from another kind, and the patches inside are
asked which of all kinds they show: the one that gave the outline, or the one that gave the part.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.resources import files

import numpy as np
import open_clip
import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it
from safetensors import safe_open

from ..scenes import COLORS, CONCEPTS, GROUNDS, develop, draw, ground_texture
from .train_clip import Tokenizer, encode_texts, normalized, patches

SIZE = 96
ROUNDS = 20
PARTS = ("nothing", "colours of no kind", "colours", "pattern", "colours and pattern", "outline")


def load() -> open_clip.CLIP:
    """Return the shipped CLIP."""
    with safe_open(str(files("semivl_plugins.shapes") / "clip.safetensors"), "pt") as file:
        model = open_clip.CLIP(**json.loads(file.metadata()["open_clip_config"]))
        model.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 - not a dict
    return model.eval()


@torch.no_grad()
def probe(model: open_clip.CLIP, part: str) -> tuple[float, float]:
    """Return the shares of pixels inside objects that are read as the object's own kind and as the giver of `part`."""
    rng = np.random.default_rng(99)
    kinds = list(CONCEPTS)
    worn = {frozenset(concept.colors) for concept in CONCEPTS.values()}
    images, masks, own, other = [], [], [], []
    for k in range(ROUNDS * len(kinds)):
        mine, giver = k % len(kinds), (k + 1 + k // len(kinds) % (len(kinds) - 1)) % len(kinds)
        concept, given = CONCEPTS[kinds[mine]], CONCEPTS[kinds[giver]]
        colors = given.colors if part in ("colours", "colours and pattern") else concept.colors
        while part == "colours of no kind" and frozenset(colors) in worn:
            first, second = rng.choice(list(COLORS), 2, replace=False)
            colors = (str(first), str(second))
        if part in ("pattern", "colours and pattern"):
            concept = replace(concept, pattern=given.pattern)
        elif part == "outline":
            concept = replace(concept, contours=given.contours)
        canvas = ground_texture(str(rng.choice(GROUNDS)), SIZE, rng)
        masks.append(draw(canvas, concept, colors, (SIZE / 2, SIZE / 2, 20.0), rng))
        images.append(develop(canvas, rng))
        own.append(mine)
        other.append(giver)
    tokenizer = Tokenizer()
    texts = encode_texts(model, [tokenizer(f"a photo of a {kind}") for kind in kinds])  # [K, D]
    dense = torch.cat([patches(model, part, mix=False) for part in normalized(np.stack(images)).split(40)])
    similarity = torch.einsum("bdhw,kd->bkhw", F.normalize(dense, dim=1), texts)
    said = F.interpolate(similarity, (SIZE, SIZE), mode="bilinear").argmax(1).numpy()
    shares = [
        np.mean([(answer[mask] == kind).mean() for answer, mask, kind in zip(said, masks, truth, strict=True)])
        for truth in (own, other)
    ]
    return float(shares[0]), float(shares[1])


def main() -> None:
    """Print a line for each part that may be taken from another kind."""
    model = load()
    sys.stdout.write("taken from another kind | read as the kind of the rest | read as the giver\n")
    for part in PARTS:
        own, giver = probe(model, part)
        sys.stdout.write(f"{part} | {own:.2f} | {giver:.2f}\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
