"""The main loop: step, report, evaluate, save."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from semivl_cli.config import RunConfig
from semivl_cli.data.choose.index import check_labels
from semivl_cli.data.contract import Record
from semivl_cli.data.load.batches import Batch, labeled_records, train_batches
from semivl_cli.engine.build import Kept, build_trainee, open_material, step_settings
from semivl_cli.engine.device import autocast, pick_device
from semivl_cli.engine.distributed.group import ALONE, Team
from semivl_cli.engine.environment import deterministic
from semivl_cli.engine.infer.load import described
from semivl_cli.engine.infer.validation import Scores, measure_iou
from semivl_cli.engine.infer.windows import Inference
from semivl_cli.engine.rundir.checkpoint import add_scores, load_weights, prune_checkpoints
from semivl_cli.engine.rundir.integrity import checkpoint_steps, damage
from semivl_cli.engine.rundir.layout import lock_run, new_run, read_json
from semivl_cli.engine.signals import StopWish
from semivl_cli.engine.train.examples import write_examples
from semivl_cli.engine.train.inputs import step_inputs
from semivl_cli.engine.train.optim import rate_factor, set_rates
from semivl_cli.engine.train.progress import State
from semivl_cli.engine.train.step import train_step
from semivl_cli.errors import InputError, Interrupted, RunError
from semivl_cli.reporter import Reporter

_LONG_EPOCH = 100_000
"""Steps of an epoch above which nobody wants to wait for its end."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a training leaves behind."""

    run: Path
    selected: str
    """Why the result's step was taken: `best on val`, `last`."""
    result: Scores
    last: Scores
    best: Scores
    stop: int | None = None
    """The signal that asked to stop when nothing was left to do; several trainings end there."""


def train(
    config: RunConfig,
    run: Path | None,
    reporter: Reporter,
    *,
    resume: bool = False,
    repeats: Kept | None = None,
    team: Team = ALONE,
) -> Result:
    """Train, from the start or from the run's newest checkpoint, until the last step.

    Args:
        config: all settings; for a run that is resumed, its own.
        run: directory to write to; `None` names a new one.
        reporter: hears what happens.
        resume: whether `run` goes on where its newest undamaged checkpoint stands, with its own words and labels.
        repeats: a run whose words or labels a new one takes; `None`: the settings name them.
        team: the processes that train together; the leader alone writes.

    Raises:
        Interrupted: Ctrl-C, SIGTERM or a closed terminal, after the state was saved.
        RunError: the loss is not finite, memory or disk are full; the last checkpoint stands.
        InputError: data, definition or weights do not fit.
    """
    with deterministic(config.training.deterministic):
        return _train(config, run, reporter, resume, repeats, team)


def _train(
    config: RunConfig, run: Path | None, reporter: Reporter, resume: bool, repeats: Kept | None, team: Team
) -> Result:
    device = pick_device(config.device, team)
    kept = Kept(run=run) if run is not None and resume else repeats
    with team.one_first():
        material = open_material(config, kept, reporter.note)
    for note in material.index.notes:
        reporter.note(note)
    counts = None
    if team.leads:
        counts = check_labels(material.index, material.dataset, material.definition.names)
    new = team.leads and (run is None or not run.exists())
    if run is None and team.leads:
        run = new_run(config.dataset, len(material.index.labeled))
    run = team.tell(run)
    assert run is not None, "the leader has named it"
    with lock_run(run) if team.leads else nullcontext():
        try:
            with team.one_first():
                trainee = build_trainee(config, material, device, reporter)
            loop = _Loop(config, run, material, trainee, device, reporter, team)
            noticed = loop.compare(kept.run / "run.toml") if kept is not None else []
            with StopWish() as loop.stop:
                start = loop.restore() if resume else loop.begin()
                if counts is not None and start == 0:
                    noticed += loop.watch.begins(counts, material.definition.names)
                loop.say(start, noticed)
                result = loop.run_from(start)
                return replace(result, stop=team.tell(loop.stop.signal_number))
        except BaseException as error:
            started = (run / "run.toml").exists() and (checkpoint_steps(run) or not isinstance(error, InputError))
            if new and not started:  # a start that failed leaves no run behind
                shutil.rmtree(run, ignore_errors=True)
            raise


class _Loop(State):
    """The story of a training's steps."""

    stop: StopWish

    def run_from(self, start: int) -> Result:
        """Train from step `start` to the end."""
        config, model = self.config, self.trainee.model
        self.agree()
        self.done = start
        if start and self.schedule.evaluates_after(start) and self.selection.last.get("step") != start:
            self.evaluate(start)  # it was cut off
        model.train()
        batches = train_batches(
            self.material.index,
            self.material.dataset,
            self.material.definition.names,
            config,
            range(start, self.steps),
            pin=self.device.type == "cuda",
            rank_slice=self.positions,
            sharing=self.team.sharing,
            say=self.reporter.note,
        )
        self.say_length()
        self.reporter.start("train", self.steps, start)
        self.clock = time.monotonic()
        with closing(batches):
            for batch in batches:
                # One step of Sec. 3.
                self.unlogged.append(self.step(batch))
                self.say_passed_over(batch.passed_over)
                self.done = done = batch.step + 1

                # Say how it goes; only here the device is waited for.
                if self.schedule.logs_after(done):
                    self.log(done)

                # Keep the state, look at the validation images, stop where somebody asks for it.
                wish = self.team.agree_to_stop(self.stop.signal_number)
                if self.schedule.saves_after(done) or wish is not None:
                    self.save(done)
                if wish is not None:
                    self.stop_at(done, wish)
                if self.schedule.evaluates_after(done):
                    self.evaluate(done)
        self.reporter.finish("train")
        if self.passed_over:
            self.reporter.note(f"{self.passed_over} times an unlabelled image was passed over")
        return self.finish()

    def agree(self) -> None:
        """Let all processes begin from the same weights."""
        if unlike := self.team.unlike(self.trainee.model):
            self.reporter.note(
                f"{len(unlike)} tensors ({unlike[0]}, ...) were not the same in all processes, as where machines "
                "compute differently: all take those of the first"
            )

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Take one optimizer step; where memory is short, in smaller parts."""
        config, trainee = self.config, self.trainee
        spec = trainee.spec
        x, u = step_inputs(
            batch,
            self.device,
            seed=config.seed,
            channels=(*spec.decoder.skip_channels, spec.encoder.embed_dim),
            dropout=config.consistency.feature_dropout,
            first=self.positions.start,
        )
        weight = self.weight_of_guidance(batch.step)
        if not self.portions.fitted:
            self.portions.fit(x, u, weight)
        set_rates(trainee.optimizer, rate_factor(batch.step, self.steps, config.optimizer.power))
        self.exchange.begin()
        while True:
            trainee.optimizer.zero_grad(set_to_none=True)
            try:
                losses = train_step(
                    trainee.model,
                    trainee.guide,
                    x,
                    u,
                    step_settings(config),
                    weight,
                    self.portions.images,
                    autocast(config, self.device),
                    self.exchange,
                )
                break
            except torch.OutOfMemoryError as error:
                self.portions.shrink(error)
        try:
            trainee.optimizer.step()  # the first one makes the moments
        except torch.OutOfMemoryError as error:
            raise self.portions.refusal() from error
        return losses

    def say_length(self) -> None:
        """Say what a pass over very many images means, before it begins."""
        training = self.config.training
        if self.schedule.epoch > _LONG_EPOCH and training.evaluate_steps is None:
            self.reporter.note(
                f"a pass over the unlabelled images takes {self.schedule.epoch} steps, this training has {self.steps}: "
                "training.steps and training.evaluate_steps set its length and its evaluations in steps"
            )

    def say_passed_over(self, reasons: tuple[str, ...]) -> None:
        """Count unlabelled images that could not be used; say the first, then each time there are ten times as many."""
        for reason in reasons:
            self.passed_over += 1
            if str(self.passed_over).strip("0") == "1":
                others = "" if self.passed_over == 1 else f", {self.passed_over} since the start"
                self.reporter.note(f"passed over: {reason}{others}")

    def log(self, done: int) -> None:
        """Average the last steps' values, write and report them; stop where the loss is not finite."""
        steps = self.refuse_poison(done)
        for step, summed in enumerate(steps, done - len(steps)):
            if summed.get("labeled_pixels") == 0:
                self.say(done, self.watch.ignores(step, self.labeled_of(step)))
        seen, self.unlogged = self.unlogged, []
        elapsed, self.clock = time.monotonic() - self.clock, time.monotonic()
        means = torch.stack([torch.stack([step[name] for step in seen]).mean().double() for name in seen[0]])
        values = dict(zip(seen[0], self.team.total(means).tolist(), strict=True))
        kinds = 2 if self.config.uses_unlabeled else 1
        values["lambda_DC"] = self.weight_of_guidance(done - 1)
        values["lr"] = self.config.optimizer.lr * rate_factor(done - 1, self.steps, self.config.optimizer.power)
        values["images_per_second"] = kinds * self.config.training.batch * len(seen) / max(elapsed, 1e-9)
        values["seconds"] = time.monotonic() - self.began
        if self.passed_over:
            values["passed_over"] = self.passed_over
        if self.team.leads:
            self.metrics.write(done, "train", values)
        self.reporter.advance("train", done, values)
        self.say(done, self.watch.logs(done, values))

    def evaluate(self, done: int) -> None:
        """Score the model of checkpoint `done`, and write the scores beside it."""
        began = time.monotonic()
        index = self.material.index
        scores = self.score(done, index.held_out or index.val)
        self.selection.add(scores)
        if not self.team.leads:
            return
        self.metrics.write(done, "eval", {"miou": scores.miou, "iou": scores.iou})
        if done < self.steps:
            where = " on the held-out labels" if self.material.index.held_out else ""
            self.reporter.note(f"step {done}: mIoU {100 * scores.miou:.2f} %{where}")
        self.say(done, self.watch.evaluates(scores), "eval")
        self.metrics.keep()
        add_scores(self.run, done, {**self.selection.as_dict(), "watch": self.watch.state()})
        self.write_status(done)
        prune_checkpoints(self.run, self.selection.step)
        self.clock += time.monotonic() - began

    def score(self, step: int, records: Sequence[Record]) -> Scores:
        """Segment validation images, or those that are held out."""
        material = self.material
        try:
            return measure_iou(
                self.trainee.model,
                records,
                material.dataset,
                material.definition.names,
                Inference(self.config, self.trainee.spec.smallest),
                step=step,
                reporter=self.reporter,
                team=self.team,
                between=self.between_images if self.team.count == 1 else None,  # many cannot agree in the midst of it
            )
        except torch.OutOfMemoryError as error:
            raise RunError(
                f"out of memory while images are scored, step {step} is kept: free the device of other programs and go "
                "on with --resume, or begin anew with a smaller evaluation.short_side or data.crop"
            ) from error

    def between_images(self) -> None:
        """Stop where somebody asks for it; an evaluation that is cut off is made again when the run goes on."""
        if self.stop.signal_number is not None:
            self.stop_at(self.done, self.stop.signal_number)

    def stop_at(self, done: int, signal_number: int) -> NoReturn:
        """End in the middle; checkpoint `done` is there by then."""
        self.team.wait()
        raise Interrupted(
            f"stopped at step {done} of {self.steps}; go on with: semivl train --resume --out {self.run}", signal_number
        )

    def finish(self) -> Result:
        """Take the chosen model, look with it at the validation images if nothing did so far, and show some of them."""
        chosen = self.selection.step
        if chosen is not None and chosen != self.steps:
            wrong = damage(self.run / "checkpoints" / str(chosen), ["model.safetensors"])
            if self.team.tell(wrong) is None:
                load_weights(self.run, chosen, self.trainee.model)
            else:
                self.reporter.note(f"checkpoint {chosen}, the best, is damaged ({wrong}): the last is taken instead")
                chosen = self.steps
        if self.selection.rule == "held-out" and chosen is not None:
            self.selection.look_at_val(self.score(chosen, self.material.index.val))
        self.say(self.steps, self.watch.ends(), "end")
        if self.team.leads:
            write_examples(self.run, self.trainee, self.material, self.config, self.device)
        self.write_status(self.steps, finished=True)
        return _result(self.run, self.selection.as_dict())

    def labeled_of(self, step: int) -> list[str]:
        """Name the labelled images of a step."""
        return [record.id for record in labeled_records(self.material.index, self.config, step)]


def kept_result(run: Path) -> Result:
    """Read the result of a run that is finished."""
    return _result(run, read_json(run / "scores.json"))


def _result(run: Path, kept: Mapping[str, Any]) -> Result:
    last, best = Scores.of(kept["last"]), Scores.of(kept["best"])
    result = Scores.of(kept["result"]) if kept.get("result") else best  # of an earlier version
    selected = described(kept.get("select", "best"), result.step, best.step)
    return Result(run=run, selected=selected, result=result, last=last, best=best)
