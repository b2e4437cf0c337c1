"""A run directory as a training leaves it, drawn by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from semivl_cli.palette import save_image, save_mask

SHAPES = {
    "background": ("#4b5563", ["grass", "star", "crescent", "frame"]),
    "round": ("#e69f00", ["disc", "ring"]),
    "polygon": ("#56b4e9", ["triangle", "square"]),
    "cross": ("#009e73", ["plus", "saltire"]),
    "arrow": ("#cc79a7", ["arrow", "chevron"]),
    "heart": ("#d55e00", ["heart"]),
}


def write_definition(run: Path, classes: dict[str, tuple[str, list[str]]], title: str = "Shapes") -> None:
    # A JSON string is a TOML string, too.
    blocks = [f"title = {json.dumps(title)}"]
    for name, (color, concepts) in classes.items():
        blocks.append(f'[[class]]\nname = {json.dumps(name)}\ncolor = "{color}"\nconcepts = {json.dumps(concepts)}\n')
    (run / "definition.toml").write_text("\n".join(blocks), encoding="utf-8")


def write_run(run: Path, settings: str = 'dataset = "shapes"\n') -> None:
    """The least a run has: its settings and its classes."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "run.toml").write_text(settings, encoding="utf-8")
    write_definition(run, SHAPES)


def write_metrics(run: Path, steps: int = 300, every: int = 5) -> None:
    rng = np.random.default_rng(0)
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(0, steps + 1, every):
            t = step / steps
            values = {
                "step": step,
                "kind": "train",
                "loss": 0.9 * math.exp(-3 * t) + 0.2 + 0.05 * rng.random(),
                "L_s": 1.6 * math.exp(-4 * t) + 0.15 + 0.08 * rng.random(),
                "L_u": 0.4 * math.exp(-2 * t) + 0.1 + 0.05 * rng.random(),
                "guidance": 0.8 * math.exp(-t) + 0.05 * rng.random(),
                "lambda_DC": 1 - t,
                "lr": 3e-3 * (1 - t) ** 0.9,
                "images_per_second": 17 + rng.random(),
                "pseudo_labels": 0.7 * (1 - math.exp(-5 * t)) + 0.03 * rng.random(),
                "pseudo_label_accuracy": 0.96 + 0.02 * rng.random(),
                "guidance_pixels": 0.11 + 0.02 * rng.random(),
            }
            file.write(json.dumps(values) + "\n")
            if step % 50 == 0 and step:
                miou = 0.54 * (1 - math.exp(-4 * t)) + 0.02 * rng.random()
                iou = dict.fromkeys(SHAPES, miou)
                file.write(json.dumps({"step": step, "kind": "eval", "miou": miou, "iou": iou}) + "\n")


def scene(seed: int, size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """A textured ground with discs and boxes of classes 1..5, and its class ids, framed by ignored pixels."""
    rng = np.random.default_rng(seed)
    image = (np.array([96, 130, 84]) + rng.normal(0, 12, (size, size, 1))).astype(np.float64) * np.ones(3)
    ids = np.zeros((size, size), np.uint8)
    y, x = np.mgrid[:size, :size]
    for _ in range(4):
        c, r = rng.integers(1, 6), rng.integers(size // 8, size // 5)
        cy, cx = rng.integers(r, size - r, 2)
        inside = (y - cy) ** 2 + (x - cx) ** 2 < r * r if c % 2 else np.maximum(abs(y - cy), abs(x - cx)) < r
        ids[inside] = c
        image[inside] = rng.integers(40, 240, 3) + rng.normal(0, 10, (int(inside.sum()), 1))
    ids[:2] = 255
    return image.clip(0, 255).astype(np.uint8), ids


def write_example(run: Path, k: int, name: str, size: int = 96, guided: bool = True) -> None:
    folder = run / "examples" / f"{k}-{name}"
    folder.mkdir(parents=True)
    colors = [tuple(bytes.fromhex(color[1:])) for color, _ in SHAPES.values()]
    image, ids = scene(k, size)
    rng = np.random.default_rng(k)
    shift = size // 32
    predicted = np.roll(np.where(ids == 255, 0, ids), (shift, -shift), (0, 1)).astype(np.uint8)
    predicted[predicted == 4] = 2
    save_image(folder / "image.png", image)
    save_mask(folder / "label.png", ids, colors)
    save_mask(folder / "prediction.png", predicted, colors)
    if guided:
        blocks = rng.random((8, 8)) < 0.3
        sure = blocks.repeat(-(-size // 8), 0).repeat(-(-size // 8), 1)[:size, :size]
        save_mask(folder / "guidance.png", np.where(sure, ids, 255).astype(np.uint8), colors)


@pytest.fixture
def young(tmp_path: Path) -> Path:
    """A run before its first step."""
    run = tmp_path / "shapes-12-1"
    write_run(run)
    return run


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return write_finished(tmp_path / "shapes-12-2")


def write_finished(run: Path) -> Path:
    write_run(
        run,
        'dataset = "shapes"\nmethod = "semivl"\nfidelity = "published"\nseed = 0\n[data]\nlabels = "12"\n'
        '[model]\nweights = "plugin:clip.safetensors"\n[training]\nsteps = 300\nbatch = 4\n'
        "[guidance]\nlambda_DC = [1.0, 0.0]\n",
    )
    write_metrics(run)
    split = {
        "labeled": [f"train-{k:04d}" for k in range(12)],
        "unlabeled": {"count": 188, "sha256": "ab" * 32},
        "val": [f"val-{k}" for k in range(120)],
        "sha256": "cd" * 32,
    }
    (run / "split.json").write_text(json.dumps(split))
    (run / "run.json").write_text(json.dumps({"last": 300, "best": 250, "finished": True}))
    iou = dict(zip(SHAPES, [0.912, 0.634, 0.48, 0.55, 0.041, None], strict=True))
    last = {"miou": 0.5234, "miou_present": 0.6281, "iou": iou, "step": 300}
    best = {"miou": 0.5381, "iou": iou, "step": 250, "selected_on": "val"}
    (run / "scores.json").write_text(json.dumps({"last": last, "best": best}))
    for k in range(6):
        write_example(run, k, f"val-{k:04d}")
    return run
