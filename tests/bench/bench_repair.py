"""Follows the advice of `semivl concepts score`: `python tests/bench/bench_repair.py shapes-careless OUT.toml`.

Each round makes the one change that scoring proposes first (a concept moves to another class or goes) and scores anew,
on the labelled images alone, until nothing is worth half a point of mIoU. Prints a Markdown table of the rounds and the
two trainings that tell what the repair is worth.
"""

import argparse
from pathlib import Path

import tomli_w

from semivl_cli.concepts.load import load_definition
from semivl_cli.engine.zero_shot.score import score
from semivl_cli.engine.zero_shot.word_report import WORTH
from semivl_cli.reporter import Silence


def findings_of(definition, arguments):
    data = {"definition": str(definition)} | ({"labels": arguments.labels} if arguments.labels else {})
    flags = {"dataset": arguments.dataset, "seed": arguments.seed, "device": arguments.device, "data": data}
    return score(flags, (), None, Silence()).findings


def change(definition, finding, target):
    """Write the definition with one concept moved (or left out); what a class excludes no longer matters here."""
    rows = []
    for item in definition.classes:
        concepts = [text for text in item.concepts if (text, item.name) != (finding.text, finding.class_name)]
        if item.name == finding.better_in:
            concepts.append(finding.text)
        rows.append({"name": item.name, "color": f"#{bytes(item.color).hex()}", "concepts": concepts})
    title = f"{definition.title.removesuffix(', repaired')}, repaired"
    target.write_text(tomli_w.dumps({"title": title, "templates": definition.templates, "class": rows}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("definition")
    parser.add_argument("out", type=Path)
    parser.add_argument("--dataset", default="shapes")
    parser.add_argument("--labels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    current = arguments.definition
    print("| round | change | mIoU of the words | of what guidance teaches | its labels that are right |")
    print("| --- | --- | --- | --- | --- |")
    what = "as it was"
    for step in range(100):
        found = findings_of(current, arguments)
        quality = found.quality
        shares = " | ".join(f"{100 * share:.1f}" for share in (quality.miou, quality.taught, quality.precision))
        print(f"| {step} | {what} | {shares} |", flush=True)
        first = found.concepts[0]
        proposed = first.moved or first.without
        if proposed is None or proposed.worth < WORTH:
            break
        change(load_definition(current), first, arguments.out)
        current = arguments.out
        what = f'"{first.text}" from {first.class_name} ' + (f"to {first.better_in}" if first.better_in else "left out")
    for definition in (arguments.definition, current):
        print(f"\nsemivl train --dataset {arguments.dataset} --seed {arguments.seed} --definition {definition}", end="")
    print()


if __name__ == "__main__":
    main()
