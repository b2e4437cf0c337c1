"""Serves `semivl eval`: scores a run, finished or not, on validation images, its own dataset's or another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from semivl_cli.concepts.load import load_definition
from semivl_cli.data.choose.index import check_made_for, find_root, first_difference, list_validation
from semivl_cli.data.contract import Dataset, Record
from semivl_cli.data.read.images import value_range_of
from semivl_cli.data.registry import open_dataset, own_definition
from semivl_cli.engine.device import pick_device
from semivl_cli.engine.distributed.group import ALONE, ProcessGroup
from semivl_cli.engine.infer.measure import Scores, measure_iou
from semivl_cli.engine.infer.predictor import Predictor, load
from semivl_cli.engine.rundir.layout import DEFINITION
from semivl_cli.errors import InputError
from semivl_cli.reporter import Reporter
from semivl_cli.run_files import read_split
from semivl_cli.settings_toml import resolve


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The scores of a run and which of its checkpoints they are."""

    run: Path
    selected: str
    scores: Scores


def evaluate(
    run: Path | None,
    *,
    dataset: str | None,
    root: Path | None,
    device: str,
    reporter: Reporter,
    process_group: ProcessGroup = ALONE,
) -> Evaluated:
    """Evaluate the checkpoint that a run (`None`: the newest) selects, else its last.

    `dataset`: plugin whose validation images are used, and whose classes must be the run's; `None`: the run's own.
    `root`: folder of the dataset; `None`: the run's own, or the dataset's usual place.
    """
    predictor = load(run, str(pick_device(device, process_group)), reporter=reporter)
    config = predictor.config
    reporter.note(f"using {predictor.run}, step {predictor.step} ({predictor.selected})")
    plugin = open_dataset(dataset or config.dataset)
    own = config.data.root if dataset in (None, config.dataset) else None
    records = list_validation(plugin, find_root(plugin.name, root or own), missing=config.data.missing)
    check_made_for(plugin, predictor.names, str(predictor.run / DEFINITION))
    if plugin.name == config.dataset:
        _note_known(predictor.run, records, reporter)
    else:
        _check_classes(plugin, predictor)
    how = predictor.how
    if (value_range := value_range_of(plugin)) is not None:  # other images, of another camera
        how = replace(how, config=resolve(config.model_dump(), {"data": {"value_range": list(value_range)}}))
    scores = measure_iou(
        predictor.model,
        records,
        plugin,
        predictor.names,
        how,
        step=predictor.step,
        reporter=reporter,
        process_group=process_group,
    )
    if scores.caution:
        reporter.note(f"note: {scores.caution}")
    return Evaluated(run=predictor.run, selected=predictor.selected, scores=scores)


def _check_classes(plugin: Dataset, predictor: Predictor) -> None:
    """Refuse another dataset whose masks mean other classes than those that the run predicts."""
    names = load_definition(own_definition(plugin)).names if plugin.definition else predictor.names
    if names != predictor.names:
        number, there, here = first_difference(names, predictor.names)
        raise InputError(
            f"class {number} of dataset {plugin.name!r} is {there!r}, of {predictor.run} {here!r}: a run is scored on "
            "masks of its own classes"
        )


def _note_known(run: Path, records: Sequence[Record], reporter: Reporter) -> None:
    """Say which validation images have trained the run, as where a list was changed or drawn anew since it began."""
    split = read_split(run)
    if split is None:
        return
    trained = {*split.labeled, *split.held_out, *(split.unlabeled.ids or ())}
    known = [record.id for record in records if record.id in trained]
    if known:
        reporter.note(
            f"note: {len(known)} of the {len(records)} validation images have trained this run (split.json), "
            f"such as {known[0]!r}: the score is too good; list in val.txt what the run has not seen"
        )
