"""`semivl concepts score`: what each word of a definition finds and takes on labelled images, and what to fix first."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from semivl_cli.cli.console import ConsoleReporter, percent, print_json, print_line, print_table
from semivl_cli.cli.options import DefinitionArgument, Device, Json, Labels, Root, WeightsOption, settings_of

if TYPE_CHECKING:
    from semivl_cli.engine.zero_shot.score import Scores

SHOWN = 15  # rows of the long tables; `--json` has all


def score(
    file: DefinitionArgument,
    dataset: Annotated[
        str | None,
        typer.Option(help="Dataset plugin with the images. (default: the one that the definition belongs to)"),
    ] = None,
    labels: Labels = None,
    root: Root = None,
    seed: Annotated[int | None, typer.Option(help="Of the draw of labelled images. (default: 0)")] = None,
    weights: WeightsOption = None,
    device: Device = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, such as guidance.zeta=0.8.", metavar="A.B=VALUE")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell what each concept finds and what it takes from other classes, before any training.

    The frozen CLIP labels the images that a training with the same options would call labelled.
    Its labels of a confidence of zeta or more, which would guide the training, are compared with yours.

    Examples: semivl concepts score shapes-careless --dataset shapes
              semivl concepts score street.toml --dataset folder --root my/ --labels 24
    """
    flags = settings_of(
        {
            "dataset": dataset,
            "seed": seed,
            "device": device,
            "data.labels": labels,
            "data.root": root,
            "data.definition": file,
        }
    )
    with ConsoleReporter() as reporter:
        from semivl_cli.engine.zero_shot import score as engine  # noqa: PLC0415 - torch is imported only when it is needed

        scored = engine.score(flags, assignments or (), weights, reporter)
        reporter.note(f"{scored.note}; {scored.clip}")
    if as_json:
        print_json(asdict(scored))
    else:
        _show(file, scored)


def _show(file: str, scored: Scores) -> None:
    """Print what to fix first, then classes, concepts and what they take as tables."""
    found, quality = scored.findings, scored.findings.quality
    print_line(
        f"{file} on {len(scored.labels)} images of {scored.dataset}: mIoU {_percent(quality.miou)} %, of what guidance "
        f"teaches from {scored.zeta:g} on {_percent(quality.taught)} %: it labels {_percent(quality.coverage)} % of "
        f"all pixels rightly, {_percent(quality.precision)} % of its labels are right\n"
    )
    for sentence in found.advice[:SHOWN] or ("nothing stands out: no change of one concept promises half a point",):
        print_line(f"- {sentence}")
    print_table(
        "\nClasses, in %; seen: its words win; coverage: with at least zeta; -: nothing was there to count",
        ["class", "pixels", "IoU", "seen", "coverage", "precision"],
        [
            [item.name, str(item.pixels), *map(_percent, (item.iou, item.found, item.coverage, item.precision))]
            for item in found.classes
        ],
    )
    print_table(
        "\nConcepts, in %, and what leaving them out would change: mIoU, mIoU of what guidance teaches, its precision",
        ["concept", "class", "pixels", "coverage", "precision", "mIoU", "taught", "right", "rather in"],
        [
            [
                item.text,
                item.class_name,
                str(item.pixels),
                *map(_percent, (item.coverage, item.precision)),
                *map(_change, (item.without.miou, item.without.taught, item.without.precision) if item.without else ()),
                *([] if item.without else ["", "", ""]),
                item.better_in or "",
            ]
            for item in found.concepts[:SHOWN]
        ],
    )
    print_table(
        "\nWhich concept takes what; astray: more than a patch away from its own class",
        ["concept", "class", "takes from", "pixels", "% of it", "sure %", "astray %", "costs mIoU"],
        [
            [
                item.concept,
                item.class_name,
                item.victim,
                str(item.pixels),
                *(_percent(value) for value in (item.share, item.sure, item.astray)),
                percent(item.cost),
            ]
            for item in found.thefts[:SHOWN]
        ],
    )
    for name, rows in (("sentences", found.advice), ("concepts", found.concepts), ("takings", found.thefts)):
        if len(rows) > SHOWN:
            print_line(f"{len(rows) - SHOWN} more {name}: --json shows all")


def _change(share: float) -> str:
    return f"{100 * share:+.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
