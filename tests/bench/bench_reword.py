"""How well a run on `shapes` takes other words: `python tests/bench/bench_reword.py RUN [--scenes 120] [--device D]`.

Each case changes the definition that the run was trained with and nothing else. IoU in % on validation scenes: `before`
by the run's own words (a class that they do not have is scored as the class that holds it now), `reworded` by the new
words, `frozen` by the CLIP that started the run with the same new words and no training. Prints Markdown tables.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import tomli_w
import torch

from semivl_cli.data.registry import open_dataset
from semivl_cli.engine.infer.metrics import class_iou, confusion
from semivl_cli.engine.infer.predictor import load
from semivl_cli.engine.zero_shot.recipe import zero_shot_config
from semivl_cli.engine.zero_shot.segmenter import open_segmenter
from semivl_cli.reporter import Silence

SHAPES = open_dataset("shapes")
PLUGIN = __import__(type(SHAPES).__module__, fromlist=["scenes"])
SCENES = __import__(f"{type(SHAPES).__module__}.scenes", fromlist=["scene"])


def cases(definition, text):
    """Name -> list of classes: name, concepts, the kinds of shape that are of it, and the old class that held these.

    A run whose decoder reads names (`text`) is told another name, any other run another list of concepts.
    """
    plain = [
        {"name": c.name, "concepts": list(c.concepts), "kinds": kinds_of(c.name), "held": c.name}
        for c in definition.classes
    ]
    found = {"the words of the run": plain}

    def instead(old, *new):
        return [c for c in plain if c is not old] + [{**old, **changed} for changed in new]

    for item in plain[1:]:
        for kind in item["kinds"] if len(item["kinds"]) > 1 else ():
            if text != "name":
                found[f"{item['name']} described by {kind} alone"] = instead(item, {"concepts": [kind]})
            elif kind != item["name"]:
                found[f"{item['name']} renamed to {kind}"] = instead(item, {"name": kind})
        parts = [{"name": kind, "concepts": [kind], "kinds": [kind]} for kind in item["kinds"]]
        if len(parts) > 1:
            found[f"{item['name']} split"] = instead(item, *parts)
    background = plain[0]
    for kind in background["kinds"]:
        rest = {key: [word for word in background[key] if word != kind] for key in ("concepts", "kinds")}
        added = {**background, "name": kind, "concepts": [kind], "kinds": [kind]}
        found[f"{kind} added, until now {background['name']}"] = [{**background, **rest}, *plain[1:], added]
    return found


def kinds_of(class_name):
    return [kind for kind, concept in SCENES.CONCEPTS.items() if concept.class_name == class_name]


def write(classes, definition, folder):
    rows = [
        {"name": c["name"], "color": f"#{37 * (n + 1) % 256:02x}5a{n:02x}", "concepts": c["concepts"]}
        for n, c in enumerate(classes)
    ]
    path = folder / "words.toml"
    path.write_text(tomli_w.dumps({"title": "Words", "templates": definition.templates, "class": rows}))
    return path


def iou(predictor, scenes, owner, classes):
    """IoU `[classes]`; `owner[kind]` is the class of a kind of shape, `owner[0]` that of the ground."""
    matrix = torch.zeros(classes, classes, dtype=torch.int64)
    for scene in scenes:
        ids = torch.from_numpy(np.asarray(predictor.predict(scene.image))).long()
        matrix += confusion(ids, torch.from_numpy(owner[scene.kinds]), classes)
    return class_iou(matrix)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--scenes", type=int, default=PLUGIN.SIZES["val"])
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    run = load(arguments.run, arguments.device)
    scenes = [SCENES.scene(SHAPES.seeds["val"], index) for index in range(arguments.scenes)]

    def owners(classes):
        of = {kind: n for n, c in enumerate(classes) for kind in c["kinds"]}
        ground = next(n for n, c in enumerate(classes) if c["name"] == run.names[0])
        return np.array([ground, *(of[kind] for kind in SCENES.CONCEPTS)])

    found = cases(run.definition, run.config.decoder.text)
    plain = found["the words of the run"]
    before = dict(zip(run.names, iou(run, scenes, owners(plain), len(plain)).tolist(), strict=True))
    summary = []
    with tempfile.TemporaryDirectory() as folder:
        for name, classes in found.items():
            path = write(classes, run.definition, Path(folder))
            reworded = iou(load(arguments.run, arguments.device, path), scenes, owners(classes), len(classes))
            config = zero_shot_config(definition=str(path), dataset="shapes")
            clip = open_segmenter(config, arguments.device, Silence())
            frozen = iou(clip, scenes, owners(classes), len(classes))
            print(f"\n{name}: mIoU reworded {100 * reworded.mean():.1f}, frozen {100 * frozen.mean():.1f}\n")
            print("| class | before | reworded | frozen |\n| --- | --- | --- | --- |")
            changed, others = [], []
            for c, ours, clips in zip(classes, reworded.tolist(), frozen.tolist(), strict=True):
                row = [100 * share for share in (before[c["held"]], ours, clips)]
                same = c["name"] == c["held"]
                (changed if c not in plain and c["name"] != run.names[0] else others).append(row)
                was = f"{row[0]:.1f}" if same else f"({c['held']} {row[0]:.1f})"
                print(f"| {c['name']} | {was} | {row[1]:.1f} | {row[2]:.1f} |", flush=True)
            if changed:
                means = np.concatenate([np.mean(changed, axis=0), np.mean(others, axis=0)])
                summary.append([name, *(f"{mean:.1f}" for mean in means)])
    print("\nMean IoU of the classes that change (before: of the classes that held them), and of the others\n")
    print("| case | before | reworded | frozen | others before | others reworded | others frozen |")
    print("\n".join(f"| {' | '.join(row)} |" for row in [["---"] * 7, *summary]))


if __name__ == "__main__":
    main()
