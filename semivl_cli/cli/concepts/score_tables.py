"""How `semivl concepts score` shows what it found: what to fix first, then classes, concepts and takings as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semivl_cli.cli.console import print_line, print_table

if TYPE_CHECKING:
    from semivl_cli.engine.zero_shot.score import Scores
    from semivl_cli.engine.zero_shot.word_report import Findings

SHOWN = 15
"""Rows of the long tables; `--json` has all."""


def show_scores(file: str, scored: Scores) -> None:
    """Print the scores of a definition, which was given as `file`."""
    found, quality = scored.findings, scored.findings.quality
    print_line(
        f"{file} on {len(scored.labels)} images of {scored.dataset}: mIoU {_percent(quality.miou)} %, of what guidance "
        f"teaches from {scored.zeta:g} on {_percent(quality.taught)} %: it labels {_percent(quality.coverage)} % of "
        f"all pixels rightly, {_percent(quality.precision)} % of its labels are right\n"
    )
    for sentence in found.advice[:SHOWN] or ("nothing stands out: no change of one concept promises half a point",):
        print_line(f"- {sentence}")
    _tables(found)


def _tables(found: Findings) -> None:
    print_table(
        "\nClasses, in %; seen: its words win; coverage: with at least zeta",
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
                f"{100 * item.cost:.2f}",
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
    return "" if share is None else f"{100 * share:.1f}"
