"""Serves `semivl concepts score`: the words of a definition on the labelled images of a training, in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from semivl_cli.engine.assemble import open_material, with_value_range
from semivl_cli.engine.precedence import configure
from semivl_cli.engine.zero_shot.recipe import dataset_of, with_weights
from semivl_cli.engine.zero_shot.segmenter import open_segmenter
from semivl_cli.engine.zero_shot.word_counts import count_words
from semivl_cli.engine.zero_shot.word_report import Findings, judge
from semivl_cli.errors import InputError
from semivl_cli.reporter import Reporter


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What was found, and on what."""

    definition: str
    dataset: str
    clip: str
    labels: tuple[str, ...]
    """Ids of the labelled images."""
    note: str
    """Where these come from."""
    zeta: float
    findings: Findings


def score(flags: Mapping[str, Any], assignments: Iterable[str], weights: str | None, reporter: Reporter) -> Scores:
    """Score a definition by the guidance that a training with the same settings would have.

    `flags`, nested like the settings, name the definition and, if wanted, dataset, labels, root and seed, from which
    follow the labelled images exactly as in training. `weights`: CLIP as `--weights` takes it.

    Raises:
        InputError: as a training would.
    """
    if "dataset" not in flags:
        dataset = dataset_of(flags["data"]["definition"])
        if dataset is None:
            raise InputError("on which images? Name the dataset that holds them: --dataset NAME (and --root DIR)")
        flags = {**flags, "dataset": dataset}
    config = with_weights(configure(flags, assignments), weights)
    material = open_material(config)
    config = with_value_range(config, material.dataset)
    segmenter = open_segmenter(config, config.device, reporter)
    counts = count_words(material, segmenter, reporter)
    return Scores(
        definition=config.data.definition or material.dataset.definition,
        dataset=config.dataset,
        clip=segmenter.clip_name,
        labels=tuple(record.id for record in material.index.labeled),
        note=material.index.notes[0],
        zeta=segmenter.config.guidance.zeta,
        findings=judge(counts, segmenter.texts, segmenter.class_of_text, segmenter.names, config.guidance.aggregate),
    )
