"""Serves `semivl train`: starts a training or goes on with one, which run and whose settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from semivl_cli.config import RunConfig
from semivl_cli.data.choose.faint import faint_notes
from semivl_cli.data.choose.index import check_labels
from semivl_cli.engine.assemble import Inherited, open_material, with_value_range
from semivl_cli.engine.device import in_words, is_here, pick_device
from semivl_cli.engine.distributed.group import ALONE, ProcessGroup
from semivl_cli.engine.environment import deterministic, differences, environment
from semivl_cli.engine.precedence import configure, with_length
from semivl_cli.engine.rundir import layout
from semivl_cli.engine.rundir.checkpoint import checkpoint_steps
from semivl_cli.engine.train.best_step import Result, read_result
from semivl_cli.engine.train.loop import Loop
from semivl_cli.engine.train.schedule import Schedule, schedule_of
from semivl_cli.engine.train.trainee import Training, build_trainee
from semivl_cli.errors import InputError
from semivl_cli.files import sweep
from semivl_cli.reporter import Reporter
from semivl_cli.settings_toml import known_settings, merge, parse_assignments, read_settings, read_toml, resolve

MOVABLE = (
    *("device", "data.root", "data.workers", "data.damaged", "data.missing"),
    *("training.micro_batch", "training.checkpoint_activations"),
)
"""Settings that may be others when a run is resumed: they say where it runs, not what it computed so far."""
LENGTH = ("training.steps", "training.epochs")
"""Settings by which a run may become longer when it is resumed."""


def train(
    flags: Mapping[str, Any],
    assignments: Sequence[str],
    out: Path | None,
    *,
    resume: bool,
    reporter: Reporter,
    process_group: ProcessGroup = ALONE,
) -> Result:
    """Train a new run, or with `resume` the one in `out` (else the newest unfinished one), by its own settings.

    Where a launcher may start the processes again, `resume` begins the run in `out` if there is none yet, so that
    one command serves for every start; and a second start resumes in any case.

    Raises:
        InputError: `out` is taken, there is nothing to resume, or a flag contradicts the run that is resumed.
    """
    if process_group.restarts and out is not None:
        begun = process_group.broadcast((out / layout.SETTINGS).exists())
        resume = begun and (resume or process_group.restarted)
    if not resume:
        config = configure(flags, assignments, reporter.note)
        if out is not None:
            layout.check_free(out)
        inherited = _inherited(config, merge(flags, parse_assignments(assignments)))
        return run_training(config, out, reporter, inherited=inherited, process_group=process_group)
    run = process_group.broadcast(_begun(out))
    config = moved(layout.read_config(run), merge(flags, parse_assignments(assignments)), run, process_group)
    if layout.is_finished(run) and same_length(config, layout.read_config(run)):
        if process_group.is_main:
            sweep(run)
        reporter.note(f"{run} is finished: nothing is left to do (a larger training.steps would make it longer)")
        return read_result(run)
    return run_training(config, run, reporter, resume=True, process_group=process_group)


def run_training(
    config: RunConfig,
    run: Path | None,
    reporter: Reporter,
    *,
    resume: bool = False,
    inherited: Inherited | None = None,
    process_group: ProcessGroup = ALONE,
) -> Result:
    """Train from the start, or from the run's newest undamaged checkpoint, until the last step.

    `config` holds all settings; `run` is the directory to write to, `None` names a new one. With `resume` it goes on,
    with its own settings, words and labels; a new one takes the words or labels of `inherited`, if that is given.

    Raises:
        Interrupted: Ctrl-C, SIGTERM or a closed terminal, after the state was saved.
        RunError: the loss is not finite, memory or disk are full; the last checkpoint stands.
        InputError: data, definition or weights do not fit.
    """
    with deterministic(config.training.deterministic):
        device = pick_device(config.device, process_group)
        if run is not None and resume:
            inherited = Inherited(run=run, images=True)
        with process_group.local_main_first():
            material = open_material(config, inherited, reporter.note)
        config = with_value_range(config, material.dataset, fixed=resume)
        new = process_group.is_main and (run is None or not run.exists())
        if run is None and process_group.is_main:
            run = layout.new_run(config.dataset, len(material.index.labeled))
        run = process_group.broadcast(run)
        assert run is not None, "the main process has named it"
        reporter.note(f"{run}: {config.dataset} on {in_words(device)}")
        for note in material.index.notes:
            reporter.note(note)
        with layout.lock_run(run) if process_group.is_main else nullcontext():
            try:
                counts = None
                if process_group.is_main:
                    value_range = config.data.value_range
                    counts = check_labels(material.index, material.dataset, material.definition.names, value_range)
                    for faint in faint_notes(material.index, value_range):
                        reporter.note(faint)
                with process_group.local_main_first():
                    trainee = build_trainee(config, material, device, reporter)
                schedule = schedule_of(config, len(material.index.unlabeled))
                training = Training(
                    config=config,
                    run=run,
                    material=material,
                    trainee=trainee,
                    device=device,
                    reporter=reporter,
                    process_group=process_group,
                    schedule=schedule,
                    shorter=_shorter(run, schedule, len(material.index.unlabeled)) if resume else None,
                    counts=counts,
                )
                loop = Loop(training)
                noticed = []
                if inherited is not None and config.model.init != str(inherited.run):
                    noticed = _changed_since(inherited.run / layout.SETTINGS, training)
                return loop.run(resume=resume, noticed=noticed)
            except BaseException as error:
                begun = (run / layout.SETTINGS).exists()
                started = begun and (checkpoint_steps(run) or not isinstance(error, InputError))
                if new and not started:  # a start that failed leaves no run behind
                    shutil.rmtree(run, ignore_errors=True)
                raise


def same_length(config: RunConfig, before: RunConfig) -> bool:
    """Whether two settings make trainings of the same length."""
    return (config.training.steps, config.training.epochs) == (before.training.steps, before.training.epochs)


def _shorter(run: Path, schedule: Schedule, unlabeled: int) -> Schedule | None:
    """Return the schedule that a run had before it becomes longer; `None`: it keeps its length.

    Raises:
        InputError: it would not become longer.
    """
    saved = layout.read_config(run)
    if same_length(schedule.config, saved):
        return None
    before = schedule_of(saved, unlabeled)
    if schedule.steps <= before.steps:
        raise InputError(
            f"{run} was started for {before.steps} steps, not {schedule.steps}: a run that goes on may become longer, "
            "not shorter; leave the setting out, or start a new run"
        )
    return before


def _changed_since(before: Path, training: Training) -> list[str]:
    """Name what is not as it was when `before`, the `run.toml` of a run, was written."""
    now = environment(training.device, training.material.index, training.trainee.clip_sha256, training.counts)
    changed = differences(read_settings(before)[1], now)
    return [f"not as it was for {before}: {', '.join(changed)}; the numbers may differ"] if changed else []


def device_of(flags: Mapping[str, Any], assignments: Sequence[str], out: Path | None, *, resume: bool) -> str:
    """Say on which device a training would run, before it begins; raises `InputError` where it could not begin."""
    if not resume:
        return configure(flags, assignments).device
    run = out or layout.find_unfinished()
    if (run / layout.SUMMARY).is_file():
        before = resolve(read_toml(run / layout.RECIPE)).device
    else:
        before = layout.read_config(_begun(run)).device
    return "cpu" if before == "cpu" else "auto"


def _begun(out: Path | None) -> Path:
    run = out or layout.find_unfinished()
    if not (run / layout.SETTINGS).is_file():
        if run.is_dir() and layout.is_left_over(run):
            raise InputError(f"{run} was stopped before its first step: nothing is lost, start it without --resume")
        raise InputError(f"{run} holds no run to resume: it has no run.toml; start it without --resume")
    return run


def _inherited(config: RunConfig, given: Mapping[str, Any]) -> Inherited | None:
    """Return the run whose words or labels are taken where no flag names others.

    It is the one that `--recipe <run>/run.toml` repeats, or the one of the same dataset with whose weights, and words,
    this one begins.
    """
    recipe, origin, data = Path(config.recipe or ""), config.model.init, given.get("data", {})
    if origin is not None and "definition" not in data and layout.read_config(Path(origin)).dataset == config.dataset:
        return Inherited(run=Path(origin), labels=False)
    if recipe.suffix != ".toml" or not read_settings(recipe)[1] or not (recipe.parent / layout.DEFINITION).is_file():
        return None
    return Inherited(
        run=recipe.parent,
        words="definition" not in data,
        labels=not ({"dataset", "seed"} & given.keys() or "labels" in data),
    )


def moved(config: RunConfig, given: Mapping[str, Any], run: Path, process_group: ProcessGroup = ALONE) -> RunConfig:
    """Let flags say where the run goes on and where its data lie now; refuse what contradicts it.

    A device that is not here, where none is named, is exchanged for one that is. Whether another length is a longer
    one is asked when the images are known.
    """
    saved = config.model_dump()
    here = {} if is_here(config.device, process_group) else {"device": "auto"}
    wanted = resolve(saved, here, with_length(dict(given)))
    now = wanted.model_dump()
    for name in known_settings():
        section, _, key = name.rpartition(".")
        old, value = (table[section][key] if section else table[key] for table in (saved, now))
        numbers = isinstance(old, int | float) and isinstance(value, int | float)
        longer = name in LENGTH and not (numbers and value < old)
        if value != old and name not in MOVABLE and not longer:
            grows = ", only its length may grow" if name in LENGTH else ""
            raise InputError(
                f"{run} was started with {name} = {json.dumps(old)}, not {json.dumps(value)}: "
                f"a resumed run keeps its settings{grows}; leave the flag out, or start a new run"
            )
    return wanted
