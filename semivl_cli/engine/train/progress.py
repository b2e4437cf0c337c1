"""Where a training stands between two steps: begun, saved and restored so exactly that no interruption can be seen."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import tomli_w
import torch
from torch import Tensor

from semivl_cli import __version__, run_files
from semivl_cli.engine.environment import environment
from semivl_cli.engine.rundir import layout
from semivl_cli.engine.rundir.checkpoint import (
    checkpoint_steps,
    first_sound,
    load_training,
    prune_checkpoints,
    save_checkpoint,
    set_aside,
)
from semivl_cli.engine.rundir.metrics_log import Metrics
from semivl_cli.engine.train.alarms import Alarms
from semivl_cli.engine.train.best_step import Selection
from semivl_cli.engine.train.microbatch import MicroBatch
from semivl_cli.engine.train.nonfinite import refuse_nonfinite
from semivl_cli.engine.train.schedule import Schedule
from semivl_cli.engine.train.trainee import Training, begin_with
from semivl_cli.errors import InputError
from semivl_cli.files import sweep, write_json, write_text
from semivl_cli.run_files import read_split
from semivl_cli.settings_toml import to_toml


class Progress:
    """Everything that a checkpoint restores, and its way to the disk and back; the main process alone writes."""

    def __init__(self, training: Training, micro_batch: MicroBatch) -> None:
        self.training, self.micro_batch = training, micro_batch
        self.is_main = training.process_group.is_main
        self.selection = Selection(training.config.training.select)
        self.alarms = Alarms(training.config, training.schedule.steps)
        self.unlogged: list[dict[str, Tensor]] = []
        """Values of the steps since the last line of `metrics.jsonl`; among many processes, the part of this one."""
        self.passed_over = 0
        """Unlabelled images that could not be used."""
        self.began = time.monotonic()
        """When it would have begun, had it never been interrupted."""
        self.metrics: Metrics | None = None

    def begin(self) -> int:
        """Write what explains the run before its first step; `run.toml` comes last, it makes a directory a run."""
        self.began = time.monotonic()
        training, run = self.training, self.training.run
        if training.config.model.init is not None:
            names = training.material.definition.names
            begin_with(training.config.model.init, training.trainee, names, training.reporter)
        if not self.is_main:
            return 0
        sweep(run)
        write_text(run / layout.DEFINITION, training.material.definition_text)
        write_json(run / layout.SPLIT, training.material.index.split())
        self._write_settings()
        self.metrics = Metrics(run, -1)  # none: what is noticed before the first step is noticed again
        self.write_status(None)
        return 0

    def _write_settings(self) -> None:
        training, schedule = self.training, self.training.schedule
        index, trainee = training.material.index, training.trainee
        facts = (
            f"# Written by semivl {__version__}, torch {torch.__version__}.\n"
            f"# Weights: {trainee.clip_name}, sha256 {trainee.clip_sha256}\n"
            f"# Data: {training.material.root}, split sha256 {index.split()['sha256']}\n"
            f"# Length: {schedule.steps} steps, {schedule.epoch} an epoch\n\n"
        )
        table = environment(training.device, index, trainee.clip_sha256, training.counts)
        text = f"{facts}{to_toml(training.config)}\n{tomli_w.dumps({'environment': table})}"
        write_text(training.run / layout.SETTINGS, text)

    def restore(self) -> int:
        """Go back to the newest undamaged checkpoint; where none was written yet, to the start."""
        training, process_group = self.training, self.training.process_group
        run, trainee, reporter = training.run, training.trainee, training.reporter
        steps = process_group.broadcast(checkpoint_steps(run))
        if not steps:
            reporter.note(f"{run} has no complete checkpoint: it starts again from step 0")
            return self.begin()
        start, broken = process_group.broadcast(first_sound(run, reversed(steps)) if self.is_main else (0, {}))
        state = load_training(run, start, trainee.model, trainee.optimizer)
        if state.clip_sha256 not in (None, trainee.clip_sha256):
            raise InputError(
                f"{run} was trained with other CLIP weights (sha256 {state.clip_sha256[:12]}..., now "
                f"{trainee.clip_sha256[:12]}...): put the weights back that run.toml names, or start a new run"
            )
        split, before = training.material.index.split(), read_split(run)
        listed = before is not None and before.unlabeled.ids is not None and training.config.data.missing == "skip"
        if before is not None and before.sha256 != split["sha256"] and not listed:
            raise InputError(
                f"the images of {training.material.root} are not those that {run} was started with (split.json): "
                "put them back, or begin a new run with its weights: --init"
            )
        self.load_state_dict(state)
        evaluated = self.selection.last.get("step") == start
        process_group.barrier()  # until all have read
        for step, wrong in broken.items():
            if self.is_main:
                set_aside(run, step)
            reporter.note(f"checkpoint {step} is damaged ({wrong}): going back to step {start}")
        if self.is_main:
            sweep(run)
            write_json(run / layout.SPLIT, split)
            self.metrics = Metrics(run, start, evaluated=evaluated)
        self.write_status(start)
        reporter.note(f"resuming {run} at step {start} of {training.schedule.steps}")
        if training.shorter is not None:
            self._lengthen(start, training.shorter)
        return start

    def _lengthen(self, start: int, before: Schedule) -> None:
        """Make the run longer from here on: what its new length decides is not what it was a step ago."""
        schedule = self.training.schedule
        if self.is_main:  # after it is written that the run is not finished
            self._write_settings()
        old, new = (100 * one.rate_factor(start) for one in (before, schedule))
        line = (
            f"{before.steps} steps become {schedule.steps}: from step {start} on, rates and guidance follow the new "
            f"length (the learning rate is {new:.0f} % of its first, it was {old:.0f} %)"
        )
        self.say(start, [line])

    def state_dict(self, unlogged: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        """Return plain values for `state.json`; `unlogged`: summed over the processes."""
        return {
            **self.selection.as_dict(),
            "seconds": time.monotonic() - self.began,
            "clip_sha256": self.training.trainee.clip_sha256,
            "micro_batch": self.micro_batch.for_checkpoint,
            "unlogged": unlogged,
            "watch": self.alarms.state_dict(),
            "passed_over": self.passed_over,
        }

    def load_state_dict(self, state: run_files.Progress) -> None:
        """Take the values of a checkpoint; a published one, or one of an earlier version, lacks some."""
        config, steps = self.training.config, self.training.schedule.steps
        self.selection = Selection(config.training.select, state)
        self.alarms = Alarms(config, steps, **state.watch.model_dump())
        self.began, self.passed_over = time.monotonic() - state.seconds, state.passed_over
        self.micro_batch.restore(state.micro_batch or config.training.batch)
        own = float(self.is_main)  # what the processes hold adds up
        self.unlogged = [
            {name: torch.tensor(own * value, device=self.training.device) for name, value in values.items()}
            for values in state.unlogged
        ]

    def save(self, done: int) -> None:
        """Write a checkpoint; the lines of `metrics.jsonl` that belong before it are on the disk by then."""
        training, trainee = self.training, self.training.trainee
        unlogged = self.finite_values(done, trainee.model)
        if self.metrics is None:
            return
        self.metrics.sync()
        save_checkpoint(
            training.run,
            done,
            trainee.model,
            trainee.spec,
            trainee.optimizer,
            to_toml(training.config),
            training.material.definition_text,
            self.state_dict(unlogged),
        )
        self.write_status(done)
        prune_checkpoints(training.run, self.selection.step)

    def save_scores(self, done: int) -> None:
        """Write the newest evaluation beside its checkpoint, with the alarms that it raised."""
        assert self.metrics is not None, "the main process writes"
        self.metrics.sync()
        scores = {**self.selection.as_dict(), "watch": self.alarms.state_dict()}
        write_json(layout.checkpoint_folder(self.training.run, done) / layout.SCORES, scores)
        self.write_status(done)
        prune_checkpoints(self.training.run, self.selection.step)

    def write_status(self, done: int | None, *, finished: bool = False) -> None:
        """Say in `scores.json` and `run.json` where the run stands; both follow from the checkpoint."""
        if not self.is_main:
            return
        run, selection = self.training.run, self.selection
        if selection.last:
            write_json(run / layout.SCORES, selection.as_dict())
        status = {"last": done, "best": selection.best.get("step"), "select": selection.rule}
        write_json(run / layout.STATUS, {**status, "finished": finished, "steps": self.training.schedule.steps})

    def finite_values(self, done: int, model: torch.nn.Module | None = None) -> list[dict[str, float]]:
        """Return the unlogged values of each step, summed over the processes; the device is waited for.

        Raises:
            RunError: one of them, or a weight of `model`, is not finite.
        """
        values: list[dict[str, float]] = []
        if self.unlogged:
            names = list(self.unlogged[0])
            table = torch.stack(
                [torch.stack([step[name].detach().float() for name in names]) for step in self.unlogged]
            )
            rows = self.training.process_group.all_reduce(table).tolist()
            values = [dict(zip(names, row, strict=True)) for row in rows]
        refuse_nonfinite(self.training, values, done, self.metrics, model)
        return values

    def say(self, step: int, lines: Sequence[str], found: layout.Found = "train") -> None:
        """Say what was noticed, and keep it."""
        for line in lines:
            self.training.reporter.note(f"note: {line}")
            if self.metrics is not None:
                self.metrics.alarm(step, line, found)
