"""How far it is through the house: `python tests/bench/bench_walks.py [--list]`.

Counts the product's own functions (code in semivl_cli, semivl_plugins and semivl_definitions; no imports, class bodies
or comprehensions) that are entered on three walks: how many different ones, and how often in all.

1. An image: from the command `semivl predict` to the mask of one picture, by a run of `shapes`.
2. A concept: from the definition `shapes` to the guidance term of two images: the definition is opened, the recipe's
   CLIP is loaded and reads the concepts, the guide labels the images, and the loss compares random scores with that.
3. A label: from `--labels 12` to the records of step 0: flags become settings, data and definition are opened, the
   labelled images are chosen, and the records of a batch are drawn.

Prints a table; with `--list` also the functions of each walk, in the order in which they are first entered.
"""

import argparse
import inspect
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

import semivl_definitions
import semivl_plugins
import torch

import semivl_cli
from semivl_cli.class_ids import IGNORE
from semivl_cli.cli import app
from semivl_cli.cli.options import settings_of
from semivl_cli.concepts.load import parse_definition
from semivl_cli.data.load.batches import labeled_records, unlabeled_records
from semivl_cli.data.registry import open_dataset
from semivl_cli.engine.assemble import build_guide, open_clip_of, open_material, read_definition
from semivl_cli.engine.precedence import configure
from semivl_cli.engine.train.losses import label_term
from semivl_cli.reporter import Silence

PACKAGES = (semivl_cli, semivl_plugins, semivl_definitions)
ROOTS = {Path(package.__file__ or "").parent: package.__name__ for package in PACKAGES}


def entered(walk: Callable[[], object]) -> Counter[str]:
    """Take a walk; returns how often each function of the product was entered, in the order of the first times."""
    seen: Counter[CodeType] = Counter()

    def look(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen[frame.f_code] += 1

    sys.setprofile(look)
    try:
        walk()
    finally:
        sys.setprofile(None)
    names: Counter[str] = Counter()
    for code, calls in seen.items():
        path = Path(code.co_filename)
        root = next((root for root in ROOTS if path.is_relative_to(root)), None)
        is_function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
        if root is not None and is_function:
            names[f"{ROOTS[root]}/{path.relative_to(root)}:{getattr(code, 'co_qualname', code.co_name)}"] += calls
    return names


def command(*arguments: object) -> None:
    """Run `semivl ARGUMENTS`."""
    app([str(argument) for argument in arguments], standalone_mode=False)


def concept_to_guidance() -> Callable[[], None]:
    """Make the walk from the definition to the guidance term; settings and images are there before it begins."""
    config = configure({"dataset": "shapes"})
    images = torch.randint(0, 256, (2, 3, config.data.crop, config.data.crop), dtype=torch.uint8)

    def walk() -> None:
        dataset = open_dataset(config.dataset)
        definition = parse_definition(*read_definition(config, dataset))
        guide = build_guide(config, open_clip_of(config, dataset, Silence()), definition)
        guessed, confidence = guide(images)
        label = torch.where(confidence >= config.guidance.zeta, guessed, IGNORE)
        scores = torch.randn(2, len(definition.classes), *label.shape[1:]).log_softmax(dim=1)
        label_term(scores, label, torch.ones(2))

    return walk


def labels_to_records() -> None:
    """From `--labels 12` to the records of a batch."""
    flags = settings_of({"dataset": "shapes", "data.labels": "12"})
    config = configure(flags)
    index = open_material(config).index
    labeled_records(index, config, step=0)
    unlabeled_records(index, config, step=0)


def main() -> None:
    """Take the walks and print what was met."""
    parser = argparse.ArgumentParser(description="Count the product's functions on three walks.")
    parser.add_argument("--list", action="store_true", help="name the functions")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command(
            "train", "--set", "training.steps=2", "--set", "data.workers=0", "--out", folder / "run", "--device", "cpu"
        )
        picture = next((folder / "run" / "examples").glob("*/image.png"))
        walks = {
            "image: command to mask": lambda: command(
                "predict", picture, "--run", folder / "run", "--out", folder / "masks"
            ),
            "concept: definition to guidance term": concept_to_guidance(),
            "label: --labels to records": labels_to_records,
        }
        found = {title: entered(walk) for title, walk in walks.items()}
    for title, functions in found.items():
        if arguments.list:
            print(f"\n{title}")
            for function, calls in functions.items():
                print(f"  {function} {calls}")
    print(f"\n{'walk':<40}{'functions':>10}{'calls':>10}")
    for title, functions in found.items():
        print(f"{title:<40}{len(functions):>10}{functions.total():>10}")


if __name__ == "__main__":
    main()
