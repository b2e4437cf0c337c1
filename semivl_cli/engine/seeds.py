"""Repeats a training with several seeds, and sums up what they reached: mean and deviation over whole runs."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semivl_cli.config import RunConfig
from semivl_cli.data.registry import open_dataset
from semivl_cli.documents import read_json
from semivl_cli.engine.assemble import read_definition
from semivl_cli.engine.distributed.group import ALONE, ProcessGroup
from semivl_cli.engine.precedence import configure
from semivl_cli.engine.rundir import layout
from semivl_cli.engine.train.best_step import Result, read_result
from semivl_cli.engine.train.start import moved, run_training, same_length
from semivl_cli.errors import InputError, Interrupted, RunError
from semivl_cli.files import write_json, write_text, writing
from semivl_cli.reporter import Reporter
from semivl_cli.run_files import Summary
from semivl_cli.settings_toml import merge, parse_assignments, read_toml, resolve, to_toml


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """What the trainings with several seeds reached."""

    out: Path
    results: dict[int, Result]
    """Seed -> result, of those that finished."""
    failed: dict[int, str]
    """Seed -> why it did not finish."""

    def as_dict(self) -> dict[str, Any]:
        """Return the object that `seeds.json` holds: mean and sample deviation (absent for one run) of each IoU."""
        scores = {seed: found.result for seed, found in self.results.items()}
        classes = next(iter(scores.values())).iou if scores else {}
        return {
            "seeds": [*self.results, *self.failed],
            "runs": [
                {"seed": seed, "run": f"seed-{seed}", "selected": found.selected, **found.result.as_dict()}
                for seed, found in self.results.items()
            ],
            "failed": [{"seed": seed, "run": f"seed-{seed}", "error": why} for seed, why in self.failed.items()],
            "miou": spread([score.miou for score in scores.values()]),
            "miou_present": spread([score.miou_present for score in scores.values()]),
            "iou": {name: spread([score.iou[name] for score in scores.values()]) for name in classes},
        }


def spread(values: list[float | None]) -> dict[str, float | None]:
    """Return the mean, and the deviation of a sample, of what is there; `None` where there are too few values."""
    known = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(known) if known else None,
        "deviation": statistics.stdev(known) if len(known) > 1 else None,
    }


def seeds_to_resume(
    out: Path | None, seeds: int | None, *, resume: bool, process_group: ProcessGroup = ALONE
) -> Path | None:
    """Return the directory of several runs that is gone on with; `None`: a single run is, or something begins.

    Raises:
        InputError: there is nothing to resume, or several runs are asked for and it is a single one.
    """
    begins = process_group.restarts and out is not None  # one command for every start, as for a single run
    if not resume and not (begins and process_group.restarted):
        return None
    found = out or layout.find_unfinished()
    if (found / layout.SUMMARY).is_file():
        return found
    if seeds is not None and not begins:
        raise InputError(
            f"{found} is not what --seeds began (it has no {layout.SUMMARY}): leave out --resume to begin, or "
            "--seeds to go on with a single run"
        )
    return None


def train_seeds(
    flags: Mapping[str, Any],
    assignments: Sequence[str],
    out: Path | None,
    seeds: int | None,
    *,
    resume: bool,
    finished: Callable[[Result], object],
    reporter: Reporter,
    process_group: ProcessGroup = ALONE,
) -> Repeated:
    """Train with the seeds S, S + 1, ..., each into `out/seed-<seed>`; the seed decides labels, views and new weights.

    `flags` and `assignments` are as for one training, their seed is S; `out` is the directory of all, `None` names a
    new one. With `resume` what is unfinished there is finished; `seeds` is then their number, or `None`. `finished` is
    called with each result as it comes.

    Raises:
        InputError: `out` is taken, a flag contradicts what is resumed, or what any training refuses.
        Interrupted: as for one training.
    """
    if resume:
        assert out is not None, "of seeds_to_resume"
        numbers = read_json(out / layout.SUMMARY, Summary).seeds
        if seeds not in (None, len(numbers)):
            raise InputError(f"{out} was started with --seeds {len(numbers)}, not {seeds}: leave the flag out")
        config = _resumed(out, merge(flags, parse_assignments(assignments)), process_group)
    else:
        config = configure(flags, assignments, reporter.note)
        numbers = list(range(config.seed, config.seed + (seeds or 1)))
        out = process_group.broadcast(_begin(config, out, numbers) if process_group.is_main else Path())
    results: dict[int, Result] = {}
    failed: dict[int, str] = {}
    for number, seed in enumerate(numbers, 1):
        run = out / f"seed-{seed}"
        if process_group.broadcast(layout.is_finished(run)):
            results[seed] = read_result(run)
        else:
            reporter.note(f"seed {seed}, {number} of {len(numbers)}: {run}")
            words = str((out / layout.DEFINITION).resolve())
            own = resolve(merge(config.model_dump(), {"seed": seed, "data": {"definition": words}}))
            begun = process_group.broadcast((run / layout.SETTINGS).exists())
            try:
                results[seed] = run_training(own, run, reporter, resume=begun, process_group=process_group)
            except RunError as error:
                if process_group.world_size > 1:  # whose processes may be gone
                    raise
                failed[seed] = str(error)
                reporter.note(f"seed {seed} failed: {error}")
                continue
            except Interrupted as error:
                message = f"stopped with seed {seed}; go on with: semivl train --resume --out {shlex.quote(str(out))}"
                raise Interrupted(message, error.exit_code - 128) from error
        if process_group.is_main:
            finished(results[seed])
        if (signal_number := results[seed].stop) is not None and number < len(numbers):
            raise Interrupted(
                f"stopped after seed {seed}; go on with: semivl train --resume --out {shlex.quote(str(out))}",
                signal_number,
            )
    repeated = Repeated(out=out, results=results, failed=failed)
    if process_group.is_main:
        write_json(out / layout.SUMMARY, {**repeated.as_dict(), "seeds": numbers})
    return repeated


def _resumed(out: Path, given: Mapping[str, Any], process_group: ProcessGroup) -> RunConfig:
    saved = resolve(read_toml(out / layout.RECIPE), source=str(out / layout.RECIPE))
    config = moved(saved, given, out, process_group)
    if not same_length(saved, config):
        raise InputError(f"{out} holds several runs, which become longer one by one: name one, such as {out}/seed-0")
    return config


def _begin(config: RunConfig, out: Path | None, numbers: list[int]) -> Path:
    """Write what the later trainings need: their settings and words as they are now."""
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is taken: go on with --resume, or give another --out")
    words, _ = read_definition(config, open_dataset(config.dataset))
    out = out or layout.new_run(config.dataset, "seeds")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    write_text(out / layout.DEFINITION, words)
    write_text(out / layout.RECIPE, to_toml(config))
    write_json(out / layout.SUMMARY, {"seeds": numbers})
    return out
