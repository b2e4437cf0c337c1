"""Train the demo's tiny CLIP from captions alone: `python -m semivl_plugins.shapes.dev.train_clip --out FILE`.

Batches are whole scenes, or 32 px close-ups side by side in mosaics, where each is compared with captions by itself. No
mask is used. Half of the mosaics are compared as in CLIP: the mean over their patches has to find its caption among
others and near misses. In all other batches the last block passes values on without mixing them, because that is how
patches are read afterwards, and a soft maximum over patches is compared: it is enough that one patch shows a star.

The checkpoint that is kept is the one with the best dense zero-shot mIoU on development scenes. Their seed belongs to
neither split of the dataset.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it
from numpy.typing import NDArray
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file
from torch import Tensor

from semivl_cli.files import replacing

from .. import DEVELOPMENT_SEED
from ..scenes import CLASSES, CONCEPTS, GROUNDS, Scene, scene
from .captions import DICTIONARY, Caption, caption, guideline, near_misses, split, truth, words
from .closeups import closeup

TILE = 32
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of OpenAI's CLIP
STD = (0.26862954, 0.26130258, 0.27577711)


class Tokenizer:
    """CLIP's byte pairs, restricted to those of the captions; rows of the token table are numbered in their order."""

    def __init__(self) -> None:
        bpe = SimpleTokenizer()
        self.pairs = {word: bpe.encode(word) for word in words()}
        used = {i for ids in self.pairs.values() for i in ids}
        self.token_ids = sorted(used | {0, bpe.sot_token_id, bpe.eot_token_id})
        self.row = {token: row for row, token in enumerate(self.token_ids)}

    @lru_cache(maxsize=100_000)  # noqa: B019 - one tokenizer lives as long as the training
    def __call__(self, text: str) -> tuple[int, ...]:
        """Return the rows of a text, start and end included."""
        rows = [self.row[i] for word in split(text) for i in self.pairs[word]]
        return (len(self.token_ids) - 2, *rows, len(self.token_ids) - 1)


def config(vocabulary: int) -> dict[str, Any]:
    """Return the model's description in open_clip's words."""
    return {
        "embed_dim": 64,
        "vision_cfg": {
            "image_size": 64, "layers": 3, "width": 96, "head_width": 32, "patch_size": 8, "pool_type": "avg",
        },
        "text_cfg": {"context_length": 48, "vocab_size": vocabulary, "width": 64, "heads": 2, "layers": 2},
    }  # fmt: skip


def patches(model: open_clip.CLIP, images: Tensor, *, mix: bool) -> Tensor:
    """Encode images `[B, 3, H, W]` (normalised) into one vector a patch `[B, D, h, w]`, not of unit length.

    `mix` lets the last block attend to all patches; without, each keeps its own value (MaskCLIP).
    """
    visual = model.visual
    x = visual.conv1(images)  # [B, E, h, w]
    height, width = x.shape[-2:]
    x = x.flatten(2).transpose(1, 2)  # [B, hw, E]
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], 1) + positions(visual, height, width)
    x = visual.ln_pre(x)
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        x = block(x)
    if mix:
        x = last(x)
    else:
        query_key_value, bias = last.attn.in_proj_weight, last.attn.in_proj_bias
        value = F.linear(last.ln_1(x), query_key_value.chunk(3)[2], bias.chunk(3)[2])
        x = x + last.attn.out_proj(value)
        x = x + last.mlp(last.ln_2(x))
    x = visual.ln_post(x)[:, 1:] @ visual.proj  # [B, hw, D]
    dense: Tensor = x.transpose(1, 2).unflatten(2, (height, width))
    return dense


def positions(visual: open_clip.transformer.VisionTransformer, height: int, width: int) -> Tensor:
    """Return the position embedding `[1 + hw, E]`, its 8 x 8 grid resized to the picture's."""
    first, grid = visual.positional_embedding[:1], visual.positional_embedding[1:]
    if (height, width) != visual.grid_size:
        grid = grid.T.unflatten(1, visual.grid_size)[None]
        grid = F.interpolate(grid, (height, width), mode="bicubic", align_corners=False)[0].flatten(1).T
    return torch.cat([first, grid])


def encode_texts(model: open_clip.CLIP, rows: list[tuple[int, ...]]) -> Tensor:
    """Encode tokenised texts into unit vectors `[K, D]`; short ones without the padding that they would not see."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    vectors = torch.empty(len(rows), model.text_projection.shape[1])
    groups = [[i for i in order if len(rows[i]) <= 9], [i for i in order if len(rows[i]) > 9]]
    parts = []
    for group in filter(None, groups):
        length = len(rows[group[-1]])
        text = torch.tensor([rows[i] + (0,) * (length - len(rows[i])) for i in group])  # [K, L]
        x = model.token_embedding(text) + model.positional_embedding[:length]
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
        parts.append(x[torch.arange(len(group)), text.argmax(1)] @ model.text_projection)
    where = torch.tensor([i for group in groups for i in group])
    return vectors.index_copy(0, where, F.normalize(torch.cat(parts), dim=-1))


def normalized(images: NDArray[np.uint8]) -> Tensor:
    """Turn RGB `[B, H, W, 3]` into the model's input `[B, 3, H, W]`."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return ((x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]).contiguous()


# --- training --------------------------------------------------------------------------------------------------------


def mosaic(rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[Scene], int]:
    """Return 72 close-ups laid out in squares of 2 x 2 or 3 x 3 `[B, H, W, 3]`, in this order, and the side of one."""
    side = int(rng.choice([2, 3]))
    tiles = [closeup(rng, TILE) for _ in range(72)]
    grid = np.stack([tile.image for tile in tiles]).reshape(-1, side, side, TILE, TILE, 3)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(-1, side * TILE, side * TILE, 3), tiles, TILE


def whole(rng: np.random.Generator, seed: int) -> tuple[NDArray[np.uint8], list[Scene], int]:
    """Return 8 scenes `[B, H, W, 3]`, each a picture of its own, and their side."""
    scenes = [scene(seed, int(rng.integers(2**40))) for _ in range(8)]
    return np.stack([s.image for s in scenes]), scenes, scenes[0].label.shape[0]


def loss_of(
    model: open_clip.CLIP, tokenizer: Tokenizer, step: int, seed: int, scene_share: float
) -> tuple[Tensor, float]:
    """Return the contrastive loss of a fresh batch, and how often a picture likes its caption best.

    `scene_share` is the probability that the batch holds scenes; else it holds close-ups, which are easier.
    """
    rng = np.random.default_rng((seed, step))
    scenes = rng.random() < scene_share
    images, pictures, side = whole(rng, seed + 10_000) if scenes else mosaic(rng)
    said = [(i, caption(picture, rng)) for i, picture in enumerate(pictures) for _ in range(8 if scenes else 1)]
    facts = [truth(picture) for picture in pictures]
    wrong = [miss for i, one in said for miss in near_misses(one, facts[i], 3, rng)]

    # the same sentence is compared once; `own` is the column of a caption, `of` the row of the picture it is said of
    sentences: dict[str, Caption] = {one.text: one for one in (*(one for _, one in said), *wrong)}
    column = {text: i for i, text in enumerate(sentences)}
    own, of = torch.tensor([column[one.text] for _, one in said]), torch.tensor([i for i, _ in said])
    true = torch.tensor([[one.claims <= fact for one in sentences.values()] for fact in facts])  # [P, K]

    mix = (
        not scenes and rng.random() < 0.5
    )  # a mean over a whole scene would teach patches to speak of all things in it
    dense = patches(model, normalized(images), mix=mix)  # [B, D, h, w]
    cell = side // 8
    dense = dense.unfold(2, cell, cell).unfold(3, cell, cell).permute(0, 2, 3, 4, 5, 1).flatten(3, 4).flatten(0, 2)
    texts = encode_texts(model, [tokenizer(text) for text in sentences])
    scale = model.logit_scale.exp()
    if mix:
        logits = scale * F.normalize(dense.mean(1), dim=-1) @ texts.T  # [P, K]
    else:
        similarity = F.normalize(dense, dim=-1) @ texts.T  # [P, patches, K]
        logits = (scale * similarity).logsumexp(1) - math.log(cell**2)

    # another sentence that happens to be true is neither right nor wrong, and so is another picture that it fits
    me = F.one_hot(own, len(sentences)).bool()
    by_picture = logits[of].masked_fill(true[of] & ~me, -torch.inf)
    here = F.one_hot(of, len(pictures)).bool()
    by_text = logits.T[own].masked_fill(true.T[own] & ~here, -torch.inf)
    loss = (F.cross_entropy(by_picture, own) + F.cross_entropy(by_text, of)) / 2
    return loss, float((by_picture.argmax(1) == own).float().mean())


class DenseZeroShot:
    """The measure of choice: what patches of development scenes say when compared with texts, as the engine does it."""

    def __init__(self, tokenizer: Tokenizer, count: int) -> None:
        scenes = [scene(DEVELOPMENT_SEED, i) for i in range(count)]
        self.images = normalized(np.stack([s.image for s in scenes]))
        self.labels = torch.from_numpy(np.stack([s.label for s in scenes])).long()
        members = [[k for k, c in CONCEPTS.items() if c.class_name == name] for name in CLASSES]
        members[0] += GROUNDS
        self.definitions = [[tokenizer(f"a photo of a {k}") for k in group] for group in members]
        self.names = [[tokenizer(f"a photo of a {name}")] for name in CLASSES]
        self.guidelines = [[tokenizer(f"a photo of a {guideline(name)}")] for name in CLASSES]
        self.dictionary = [[tokenizer(f"a photo of a {DICTIONARY[name]}")] for name in CLASSES]

    @torch.no_grad()
    def __call__(self, model: open_clip.CLIP) -> dict[str, Any]:
        """Return mIoU (0..1) by definitions, names and guideline sentences, and what confident pixels are worth."""
        dense = torch.cat([patches(model, batch, mix=False) for batch in self.images.chunk(6)])
        dense = F.normalize(dense, dim=1)
        result: dict[str, Any] = {}
        variants = ("definitions", "names", "guidelines", "dictionary")
        for kind in variants:
            groups = getattr(self, kind)
            texts = encode_texts(model, [rows for group in groups for rows in group])  # [K, D]
            similarity = torch.einsum("bdhw,kd->bkhw", dense, texts)
            owner = torch.tensor([i for i, group in enumerate(groups) for _ in group])
            best = torch.stack([similarity[:, owner == i].amax(1) for i in range(len(CLASSES))], 1)  # [B, N, h, w]
            best = F.interpolate(best, self.labels.shape[-2:], mode="bilinear", align_corners=False)
            confidence, predicted = (model.logit_scale.exp() * best).softmax(1).max(1)
            right = predicted == self.labels
            iou = [
                float(((predicted == i) & right).sum() / ((predicted == i) | (self.labels == i)).sum())
                for i in range(len(CLASSES))
            ]
            result[f"miou_{kind}"] = round(sum(iou) / len(iou), 4)
            if kind == "definitions":
                sure = confidence >= 0.9
                result["iou"] = {name: round(value, 3) for name, value in zip(CLASSES, iou, strict=True)}
                result["confident_share"] = round(float(sure.float().mean()), 4)
                result["confident_accuracy"] = round(float(right[sure].float().mean()), 4) if sure.any() else None
        return result


def save(path: Path, model: open_clip.CLIP, tokenizer: Tokenizer) -> None:
    """Write the weights (float16) and, in the metadata, all that is needed to use them."""
    metadata = {
        "open_clip_config": json.dumps(config(len(tokenizer.token_ids))),
        "token_ids": json.dumps(tokenizer.token_ids),
        "image_mean": json.dumps(MEAN),
        "image_std": json.dumps(STD),
    }
    with replacing(path) as temporary:
        save_file({name: value.half().contiguous() for name, value in model.state_dict().items()}, temporary, metadata)


def train(minutes: float, out: Path, seed: int, peak: float) -> None:
    """Train for `minutes` of wall clock; write `out` each time the measure improves, and a log beside it."""
    torch.manual_seed(seed)
    tokenizer = Tokenizer()
    model = open_clip.CLIP(**config(len(tokenizer.token_ids)))
    average = copy.deepcopy(model).requires_grad_(False)  # its weights are the running mean of the model's
    measure = DenseZeroShot(tokenizer, 120)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98))

    log = out.with_name(out.stem + "_log.jsonl")
    log.unlink(missing_ok=True)
    best, start, step, next_look = 0.0, time.monotonic(), 0, 30.0
    losses: list[float] = []
    hits: list[float] = []
    while (progress := (seconds := time.monotonic() - start) / (60 * minutes)) < 1:
        rate = peak * min(1, (step + 1) / 60) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, hit = loss_of(model, tokenizer, step, seed, scene_share=0.5 * min(1, progress / 0.15))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
            for mean, value in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(value, max(0.005, 1 / (step + 1)))
        losses.append(loss.item())
        hits.append(hit)
        step += 1
        if seconds >= next_look:
            next_look = seconds + 45
            row = {"step": step, "seconds": round(seconds), "loss": round(float(np.mean(losses)), 4)}
            row |= {"caption_accuracy": round(float(np.mean(hits)), 4)}
            row |= {"logit_scale": round(float(average.logit_scale.exp()), 2)} | measure(average)
            row["kept"] = row["miou_definitions"] > best
            if row["kept"]:
                best = row["miou_definitions"]
                save(out, average, tokenizer)
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            losses, hits = [], []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the demo's tiny CLIP.")
    parser.add_argument("--minutes", type=float, default=14, help="wall-clock time")
    parser.add_argument("--out", type=Path, required=True, help="weights to write (safetensors)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peak", type=float, default=2e-3, help="highest learning rate")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train(arguments.minutes, arguments.out, arguments.seed, arguments.peak)
