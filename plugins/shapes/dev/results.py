"""Repeat the tables of docs/results.md: `python -m semivl_plugins.shapes.dev.results --out results`.

Every row is a `semivl train` command, run for each seed in a directory of its own; what is finished stays, so that the
same command goes on where it was stopped. Rows are compared on the masks that `semivl predict` writes. What was made
with another recipe, world or CLIP is refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from semivl_cli.files import hash_file, replacing, write_bytes
from semivl_cli.processes import usable_cores

from .. import SIZES, Development, Shapes
from ..scenes import CLASSES, CONCEPTS, scene

mpl.use("Agg")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table: its name in file names, what it says to the reader, and the arguments of the command."""

    name: str
    title: str
    arguments: tuple[str, ...]

    @property
    def trains(self) -> bool:
        """Whether there is anything to train; else the frozen CLIP predicts."""
        return "--zero-shot" not in self.arguments


def _settings(*assignments: str) -> tuple[str, ...]:
    return tuple(word for assignment in assignments for word in ("--set", assignment))


_COMMON = ("training.evaluate_steps=200", "training.select=last")  # no step is chosen on the scenes of the table
_HEAD = ("decoder.kind=convolutional", "finetune.encoder=full")
_UNGUIDED = ("guidance.lambda_DC=[0.0,0.0]",)
ROWS = (
    Row(
        name="zero-shot-names",
        title="zero-shot, class names",
        arguments=("--zero-shot", "--definition", "names.toml"),
    ),
    Row(name="zero-shot", title="zero-shot, definitions", arguments=("--zero-shot",)),
    Row(
        name="supervised-random",
        title="supervised, random encoder",
        arguments=(
            "--method",
            "supervised",
            *_settings(*_HEAD, "model.initial=random", "optimizer.encoder_multiplier=0.3"),
        ),
    ),
    Row(
        name="supervised-clip",
        title="supervised, CLIP encoder",
        arguments=("--method", "supervised", *_settings(*_HEAD)),
    ),
    Row(name="consistency", title="+ consistency", arguments=_settings(*_HEAD, *_UNGUIDED)),
    Row(
        name="spatial",
        title="+ spatial fine-tuning",
        arguments=_settings("decoder.kind=convolutional", *_UNGUIDED),
    ),
    Row(name="language", title="+ language decoder", arguments=_settings(*_UNGUIDED)),
    Row(name="guided-names", title="+ guidance, class names", arguments=_settings("guidance.text=name")),
    Row(name="guided", title="+ guidance, definitions", arguments=()),
    Row(name="supervised", title="supervised, the last row's model", arguments=("--method", "supervised")),
)
"""The rows of the paper's Table 6, with the settings that were chosen on the development scenes."""
_BY_NAME = {row.name: row for row in ROWS}

PAIRS = (
    ("guided", "guided-names"),
    ("guided", "language"),
    ("guided", "supervised-clip"),
    ("guided", "supervised"),
    ("language", "supervised"),
)
"""Rows that are compared besides neighbours: the first is expected to be better."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """Where everything lies, and what is compared: the reported scenes or those of development."""

    out: Path
    dataset: Shapes
    seeds: int

    def run(self, row: Row, seed: int) -> Path:
        """Return the run directory of a row and a seed."""
        return self.out / "runs" / row.name / f"seed-{seed}"

    def score(self, row: Row, seed: int) -> dict[str, Any]:
        """Return what `compare` wrote for a row and a seed."""
        found: dict[str, Any] = json.loads((self.run(row, seed) / "shapes.json").read_text(encoding="utf-8"))
        return found

    def seeds_of(self, row: Row) -> range:
        """Return the seeds of a row: a frozen CLIP knows no chance."""
        return range(self.seeds if row.trains else 1)


def origin(row: Row) -> str:
    """Return a hash of all that a row is made from, but for the code of the method."""
    files = [Path(__file__).parents[1] / name for name in ("recipe.toml", "clip.safetensors", "scenes.py")]
    digest = hashlib.sha256(json.dumps([row.arguments, _COMMON]).encode())
    for file in files:
        digest.update(bytes.fromhex(hash_file(file)))
    return digest.hexdigest()


def keep_origin(bench: Bench) -> None:
    """Remember what the rows are made from; refuse a directory whose runs were made from something else."""
    file = bench.out / "origin.json"
    made_from = {row.name: origin(row) for row in ROWS}
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        other = [row.name for row in ROWS if kept.get(row.name) != made_from[row.name]]
        stale = [bench.out / "runs" / name for name in other if (bench.out / "runs" / name).exists()]
        if stale:
            raise SystemExit(
                f"{stale[0]} was made with another recipe, world, CLIP or settings: delete it, or name another --out"
            )
    file.write_text(json.dumps(made_from, indent=1), encoding="utf-8")


def draw_scenes(bench: Bench) -> None:
    """Write the val scenes as pictures, for `semivl predict`."""
    folder = bench.out / "val"
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(SIZES["val"]):
        file = folder / f"{index:04d}.png"
        if not file.is_file():
            with replacing(file) as temporary:
                Image.fromarray(scene(bench.dataset.seeds["val"], index).image).save(temporary, "png")
    classes = [
        f'[[class]]\nname = "{name}"\ncolor = "#{40 * i:06x}"\nconcepts = ["{name}"]\n'
        for i, name in enumerate(CLASSES)
    ]
    text = 'title = "Class names"\nsource = "shapes"\ntemplates = ["a photo of a {}"]\n\n' + "\n".join(classes)
    (bench.out / "names.toml").write_text(text, encoding="utf-8")


def semivl(bench: Bench, *arguments: str | Path, threads: int) -> None:
    """Run a command of semivl inside the output directory; its last words are shown if it fails."""
    command = [sys.executable, "-m", "semivl_cli", *map(str, arguments)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=bench.out,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command[2:])}\nended with {done.returncode}:\n{done.stderr[-2000:]}")


def work(bench: Bench, row: Row, seed: int, threads: int) -> None:
    """Train (or go on with) a row for a seed, let it predict the val scenes, and compare these with the truth."""
    run = bench.run(row, seed)
    if (run / "shapes.json").is_file():
        return
    masks = run / "masks"
    shutil.rmtree(masks, ignore_errors=True)
    if not row.trains:
        semivl(
            bench,
            "predict",
            bench.out / "val",
            "--out",
            masks,
            "--dataset",
            bench.dataset.name,
            *row.arguments,
            threads=threads,
        )
    else:
        if (run / "run.toml").is_file():
            semivl(bench, "train", "--resume", "--out", run, threads=threads)
        else:
            which = ("--dataset", bench.dataset.name, "--seed", str(seed), "--out", run)
            semivl(bench, "train", *which, *_settings(*_COMMON), *row.arguments, threads=threads)
        semivl(bench, "predict", bench.out / "val", "--out", masks, "--run", run, threads=threads)
    found = compare(masks, bench.dataset.seeds["val"])
    write_bytes(run / "shapes.json", json.dumps(found, indent=1).encode())
    sys.stdout.write(f"{row.title}, seed {seed}: mIoU {100 * found['miou']:.1f}\n")
    sys.stdout.flush()


def compare(masks: Path, seed: int) -> dict[str, Any]:
    """Count masks against the scenes: IoU of each class, mIoU, and the share of look-alike pixels called background."""
    matrix = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    alike = [1 + i for i, concept in enumerate(CONCEPTS.values()) if concept.class_name == "background"]
    rejected = total = 0
    for index in range(SIZES["val"]):
        picture, mask = scene(seed, index), np.asarray(Image.open(masks / f"{index:04d}.png"))
        matrix += np.bincount(
            len(CLASSES) * picture.label.astype(int).ravel() + mask.ravel(), minlength=matrix.size
        ).reshape(matrix.shape)
        look_alike = np.isin(picture.kinds, alike)
        rejected, total = rejected + int((mask[look_alike] == 0).sum()), total + int(look_alike.sum())
    hit = np.diag(matrix)
    iou = hit / (matrix.sum(0) + matrix.sum(1) - hit)
    return {
        "miou": float(iou.mean()),
        "iou": dict(zip(CLASSES, map(float, iou), strict=True)),
        "rejected": rejected / total,
    }


# --- what is shown ---------------------------------------------------------------------------------------------------


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard error (0 for a single value)."""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, 0.0
    return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def table(bench: Bench) -> str:
    """Return the table as Markdown; differences are taken seed by seed."""
    lines = [
        "| row | mIoU | against the row above | look-alikes called background | " + " | ".join(CLASSES) + " |",
        "| --- " * (4 + len(CLASSES)) + "|",
    ]
    before: list[float] = []
    for row in ROWS:
        scores = [bench.score(row, seed) for seed in bench.seeds_of(row)]
        miou = [100 * score["miou"] for score in scores]
        step = _gain(before, miou) if len(before) == len(miou) > 1 else ""
        cells = [row.title, "{:.1f} ± {:.1f}".format(*mean_and_error(miou)), step]
        cells.append(f"{100 * mean_and_error([score['rejected'] for score in scores])[0]:.0f} %")
        cells += [f"{100 * mean_and_error([score['iou'][name] for score in scores])[0]:.0f}" for name in CLASSES]
        lines.append("| " + " | ".join(cells) + " |")
        before = miou
    return "\n".join(lines) + "\n"


def comparisons(bench: Bench) -> str:
    """Return the gains of `PAIRS` as Markdown, seed by seed."""
    lines = ["| row | against | mIoU | seed by seed |", "| --- | --- | --- | --- |"]
    for better, other in PAIRS:
        a, b = (
            [100 * bench.score(_BY_NAME[name], seed)["miou"] for seed in range(bench.seeds)] for name in (other, better)
        )
        each = ", ".join(f"{y - x:+.1f}" for x, y in zip(a, b, strict=True))
        lines.append(f"| {_BY_NAME[better].title} | {_BY_NAME[other].title} | {_gain(a, b)} | {each} |")
    return "\n".join(lines) + "\n"


def _gain(before: Sequence[float], after: Sequence[float]) -> str:
    return "{:+.1f} ± {:.1f}".format(*mean_and_error([b - a for a, b in zip(before, after, strict=True)]))


def draw_curves(bench: Bench) -> None:
    """Draw mIoU on the val scenes over the steps: mean and standard error of every trained row."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for row in filter(lambda row: row.trains, ROWS):
        by_step: dict[int, list[float]] = {}
        for seed in bench.seeds_of(row):
            for text in (bench.run(row, seed) / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
                if (entry := json.loads(text))["kind"] == "eval":
                    by_step.setdefault(entry["step"], []).append(100 * entry["miou"])
        steps = sorted(by_step)
        mean, error = np.array([mean_and_error(by_step[step]) for step in steps]).T
        (line,) = axes.plot(steps, mean, label=row.title, linestyle="--" if "supervised" in row.name else "-")
        axes.fill_between(steps, mean - error, mean + error, color=line.get_color(), alpha=0.15, linewidth=0)
    for row in filter(lambda row: not row.trains, ROWS):
        axes.axhline(100 * bench.score(row, 0)["miou"], color="0.5", linewidth=0.8, linestyle=":")
        axes.annotate(
            row.title,
            (1, 100 * bench.score(row, 0)["miou"]),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=8,
        )
    axes.set(xlabel="step", ylabel="mIoU on val scenes, %")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    _save(figure, bench.out / "curves.png")


def draw_sheet(bench: Bench) -> None:
    """Draw scenes with their labels, what guidance says by names and by definitions, and each row's prediction."""
    examples = sorted((bench.run(_BY_NAME["guided"], 0) / "examples").iterdir())
    shown = ("supervised-random", "supervised-clip", "consistency", "spatial", "language", "guided-names", "guided")
    titles = ["scene", "labels", "guidance:\nclass names", "guidance:\ndefinitions"]
    titles += [_BY_NAME[name].title.replace(", ", ",\n") for name in shown]
    figure = Figure(figsize=(1.35 * len(titles), 1.4 * len(examples) + 0.5), layout="constrained")
    grid = figure.subplots(len(examples), len(titles), squeeze=False)
    for axes_row, example in zip(grid, examples, strict=True):
        other = [bench.run(_BY_NAME[name], 0) / "examples" / example.name for name in shown]
        files = [example / "image.png", example / "label.png", other[shown.index("guided-names")] / "guidance.png"]
        files += [example / "guidance.png", *(folder / "prediction.png" for folder in other)]
        for axes, file in zip(axes_row, files, strict=True):
            axes.imshow(_rgb(file), interpolation="nearest")
            axes.set_axis_off()
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=7)
    colors = np.reshape(Image.open(examples[0] / "label.png").getpalette() or (), (-1, 3))[: len(CLASSES)] / 255
    patches = [Patch(facecolor=color, edgecolor="0.5", label=name) for name, color in zip(CLASSES, colors, strict=True)]
    patches.append(Patch(facecolor="0.88", edgecolor="0.5", label="the frozen CLIP is not sure"))
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), fontsize=8)
    _save(figure, bench.out / "sheet.png")


def _rgb(file: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(file).convert("RGB"))


def _save(figure: Figure, file: Path) -> None:
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def main() -> None:
    """Run what is missing, then write table, curves and sheet."""
    parser = argparse.ArgumentParser(description="Repeat the tables of docs/results.md; what is finished is kept.")
    parser.add_argument("--out", type=Path, required=True, help="directory of runs, table and pictures")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="trainings at the same time")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="some rows alone, without table and pictures")
    parser.add_argument("--development", action="store_true", help="the scenes on which settings are chosen")
    arguments = parser.parse_args()
    dataset = Development() if arguments.development else Shapes()
    bench = Bench(out=arguments.out.resolve() / dataset.name, dataset=dataset, seeds=arguments.seeds)
    bench.out.mkdir(parents=True, exist_ok=True)
    keep_origin(bench)
    draw_scenes(bench)
    rows = [row for row in ROWS if arguments.rows is None or row.name in arguments.rows]
    threads = max(1, usable_cores() // arguments.jobs)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        todo = [(row, seed) for seed in range(bench.seeds) for row in rows if seed in bench.seeds_of(row)]
        for finished in [pool.submit(work, bench, row, seed, threads) for row, seed in todo]:
            finished.result()
    if arguments.rows is None:
        text = f"{table(bench)}\n{comparisons(bench)}"
        (bench.out / "table.md").write_text(text, encoding="utf-8")
        draw_curves(bench)
        draw_sheet(bench)
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
