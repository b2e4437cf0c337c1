"""Starts a training or goes on with one: which run, whose settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from semivl_cli.config import RunConfig, merge, parse_assignments, read_settings, read_toml, resolve
from semivl_cli.engine.build import Kept
from semivl_cli.engine.distributed.group import ALONE, Team
from semivl_cli.engine.rundir.layout import SUMMARY, find_unfinished, is_finished, read_config
from semivl_cli.engine.settings import configure
from semivl_cli.engine.train.loop import Result, kept_result, train
from semivl_cli.errors import InputError
from semivl_cli.files import sweep
from semivl_cli.reporter import Reporter

MOVABLE = ("data.root", "data.workers", "data.damaged", "training.micro_batch", "training.checkpoint_activations")
"""Settings that may be others when a run is resumed: they say where it runs, not what it computed so far."""


def start_or_resume(
    flags: Mapping[str, Any],
    assignments: Iterable[str],
    out: Path | None,
    *,
    resume: bool,
    reporter: Reporter,
    team: Team = ALONE,
) -> Result:
    """Train a new run, or with `resume` the one in `out` (else the newest unfinished one), by its own settings.

    Where a launcher may start the processes again, `resume` begins the run in `out` if there is none yet, so that
    one command serves for every start; and a second start resumes in any case.

    Raises:
        InputError: `out` is taken, there is nothing to resume, or a flag contradicts the run that is resumed.
    """
    assignments = list(assignments)
    if team.restarts and out is not None:
        begun = team.tell((out / "run.toml").exists())
        resume = begun and (resume or team.restarted)
    if not resume:
        config = configure(flags, assignments)
        if out is not None and (out / "run.toml").exists():
            raise InputError(f"{out} already holds a run: go on with --resume, or give another --out")
        if out is not None and out.is_dir() and any(not _is_left_over(path) for path in out.iterdir()):
            raise InputError(f"{out} holds other files: a run wants a directory of its own, give another --out")
        repeats = _repeated(config, merge(flags, parse_assignments(assignments)))
        return train(config, out, reporter, repeats=repeats, team=team)
    run = team.tell(_begun(out))
    config = moved(read_config(run), merge(flags, parse_assignments(assignments)), run)
    if is_finished(run):
        if team.leads:
            sweep(run)
        reporter.note(f"{run} is finished: nothing is left to do")
        return kept_result(run)
    return train(config, run, reporter, resume=True, team=team)


def device_of(flags: Mapping[str, Any], assignments: Iterable[str], out: Path | None, *, resume: bool) -> str:
    """Say on which device a training would run, before it begins; raises `InputError` where it could not begin."""
    if not resume:
        return configure(flags, assignments).device
    run = out or find_unfinished()
    if (run / SUMMARY).is_file():
        return resolve(read_toml(run / "recipe.toml")).device
    return read_config(_begun(run)).device


def _begun(out: Path | None) -> Path:
    run = out or find_unfinished()
    if not (run / "run.toml").is_file():
        if run.is_dir() and all(_is_left_over(path) for path in run.iterdir()):
            raise InputError(f"{run} was stopped before its first step: nothing is lost, start it without --resume")
        raise InputError(f"{run} holds no run to resume: it has no run.toml; start it without --resume")
    return run


def _repeated(config: RunConfig, given: Mapping[str, Any]) -> Kept | None:
    """Return the run that `--recipe <run>/run.toml` repeats: with its words and labels, where no flag names others."""
    recipe = Path(config.recipe or "")
    if recipe.suffix != ".toml" or not read_settings(recipe)[1] or not (recipe.parent / "definition.toml").is_file():
        return None
    data = given.get("data", {})
    return Kept(
        run=recipe.parent,
        words="definition" not in data,
        labels=not ({"dataset", "seed"} & given.keys() or "labels" in data),
    )


def _is_left_over(path: Path) -> bool:
    """Whether a start that was killed before `run.toml` was there left this file."""
    return path.name in (".lock", "definition.toml", "split.json") or path.suffix in (".part", ".tmp")


def moved(config: RunConfig, given: Mapping[str, Any], run: Path) -> RunConfig:
    """Let flags say where the data lie now and how many processes read them; refuse what contradicts the run."""
    saved = config.model_dump()
    wanted = resolve(saved, given)
    for section, values in wanted.model_dump().items():
        pairs = values.items() if isinstance(values, dict) else [("", values)]
        for key, value in pairs:
            old = saved[section][key] if key else saved[section]
            name = f"{section}.{key}" if key else section
            if value != old and name not in MOVABLE:
                raise InputError(
                    f"{run} was started with {name} = {json.dumps(old)}, not {json.dumps(value)}: "
                    "a resumed run keeps its settings; leave the flag out, or start a new run"
                )
    return wanted
