"""The main loop: step, report, evaluate, save."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from .. import __version__
from ..config import RunConfig, to_toml
from ..data.contract import Record
from ..data.index import check_labels
from ..data.loader import Batch, drawn_records, train_batches
from ..errors import InputError, Interrupted, RunError
from ..model.semivl import SemiVL
from .batchnorm import synchronize
from .checkpoint import add_scores, load_training, load_weights, prune_checkpoints, save_checkpoint, set_aside
from .disk import sweep, write_json, write_text
from .evaluate import Scores, evaluate
from .examples import write_examples
from .exchange import Exchange
from .inputs import step_inputs
from .integrity import checkpoint_steps, damage, first_sound
from .losses import IGNORE, lambda_DC
from .memory import Portions
from .optim import rate_factor, set_rates
from .parallel import ALONE, Team
from .postmortem import advice, find_broken, keep_evidence
from .reporter import Reporter
from .run import Metrics, locked, new_run, read_json
from .schedule import schedule_of
from .selection import Selection, described
from .setup import (
    Material,
    Trainee,
    autocast,
    build_trainee,
    inference,
    open_material,
    pick_device,
    short_side,
    step_settings,
    view_settings,
)
from .step import train_step
from .stop import StopWish
from .watch import Watch

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


def train(
    config: RunConfig, run: Path | None, reporter: Reporter, *, resume: bool = False, team: Team = ALONE
) -> Result:
    """Train, from the start or from the run's newest checkpoint, until the last step.

    Args:
        config: all settings; for a run that is resumed, its own.
        run: directory to write to; `None` names a new one.
        reporter: hears what happens.
        resume: whether `run` goes on where its newest undamaged checkpoint stands, with its own words and labels.
        team: the processes that train together; the leader alone writes.

    Raises:
        Interrupted: Ctrl-C, SIGTERM or a closed terminal, after the state was saved.
        RunError: the loss is not finite, memory or disk are full; the last checkpoint stands.
        InputError: data, definition or weights do not fit.
    """
    device = pick_device(config.device, team)
    with team.one_first():
        material = open_material(config, run if resume else None, reporter.note)
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
    with locked(run) if team.leads else nullcontext():
        try:
            with team.one_first():
                trainee = build_trainee(config, material, device, reporter)
            loop = _Loop(config, run, material, trainee, device, reporter, team)
            if counts is not None and not resume:
                loop.say(loop.watch.begins(counts, material.definition.names))
            with StopWish() as loop.stop:
                return loop.run_from(loop.restore() if resume else loop.begin())
        except BaseException as error:
            started = (run / "run.toml").exists() and (checkpoint_steps(run) or not isinstance(error, InputError))
            if new and not started:  # a start that failed leaves no run behind
                shutil.rmtree(run, ignore_errors=True)
            raise


class _Loop:
    """The state of one training, and the story of its steps."""

    stop: StopWish

    def __init__(
        self,
        config: RunConfig,
        run: Path,
        material: Material,
        trainee: Trainee,
        device: torch.device,
        reporter: Reporter,
        team: Team,
    ) -> None:
        self.config, self.run, self.material, self.trainee = config, run, material, trainee
        self.device, self.reporter, self.team = device, reporter, team
        self.schedule = schedule_of(config, len(material.index.unlabeled))
        self.steps = self.schedule.steps
        batch = config.training.batch
        self.positions = team.share(batch, config.micro_batch_unit)
        synchronize(trainee.model, team)
        self.portions = Portions(config, trainee, len(range(batch)[self.positions]), team, reporter)
        trained = [parameter for group in trainee.optimizer.param_groups for parameter in group["params"]]
        self.exchange = Exchange(team, trained, batch, self.positions)
        self.selection = Selection(config.training.select)
        self.watch = Watch(config, self.steps)
        self.unlogged: list[dict[str, Tensor]] = []
        """Values of the steps since the last line of `metrics.jsonl`; among many processes, the part of this one."""
        self.seconds = 0.0
        self.clock = time.monotonic()
        self.passed_over = 0

    def begin(self) -> int:
        """Write what explains the run before its first step; `run.toml` comes last, it makes a directory a run."""
        self.began = time.monotonic()
        if not self.team.leads:
            return 0
        sweep(self.run)
        index, trainee = self.material.index, self.trainee
        facts = (
            f"# Written by semivl {__version__}, torch {torch.__version__}.\n"
            f"# Weights: {trainee.clip_name}, sha256 {trainee.clip_sha256}\n"
            f"# Data: {self.material.root}, split sha256 {index.split()['sha256']}\n"
            f"# Length: {self.steps} steps, {self.schedule.epoch} an epoch\n\n"
        )
        write_text(self.run / "definition.toml", self.material.definition_text)
        write_json(self.run / "split.json", index.split())
        write_text(self.run / "run.toml", facts + to_toml(self.config))
        self.metrics = Metrics(self.run, 0)
        self.write_status(None)
        return 0

    def restore(self) -> int:
        """Go back to the newest undamaged checkpoint; where none was written yet, to the start."""
        steps = self.team.tell(checkpoint_steps(self.run))
        if not steps:
            self.reporter.note(f"{self.run} has no complete checkpoint: it starts again from step 0")
            return self.begin()
        start, broken = self.team.tell(first_sound(self.run, reversed(steps)) if self.team.leads else (0, {}))
        state = load_training(self.run, start, self.trainee.model, self.trainee.optimizer)
        if state.get("clip_sha256") not in (None, self.trainee.clip_sha256):
            raise InputError(
                f"{self.run} was trained with other CLIP weights (sha256 {state['clip_sha256'][:12]}..., now "
                f"{self.trainee.clip_sha256[:12]}...): put the weights back that run.toml names, or start a new run"
            )
        split, before = self.material.index.split(), read_json(self.run / "split.json")
        if before.get("sha256", split["sha256"]) != split["sha256"]:
            raise InputError(
                f"the images of {self.material.root} are not those that {self.run} was started with (split.json): "
                "put them back, or start a new run"
            )
        self.selection = Selection(self.config.training.select, state)
        self.watch = Watch(self.config, self.steps, **state.get("watch", {}))
        self.seconds = state["seconds"]
        self.portions.restore(state.get("micro_batch", self.config.training.batch))
        self.began = time.monotonic() - self.seconds
        mine = float(self.team.leads)  # what the processes hold adds up
        self.unlogged = [
            {name: torch.tensor(mine * value, device=self.device) for name, value in values.items()}
            for values in state.get("unlogged", [])
        ]
        evaluated = self.selection.last.get("step") == start
        self.team.wait()  # until all have read
        for step, wrong in broken.items():
            if self.team.leads:
                set_aside(self.run, step)
            self.reporter.note(f"checkpoint {step} is damaged ({wrong}): going back to step {start}")
        if self.team.leads:
            sweep(self.run)
            write_json(self.run / "split.json", split)
            self.metrics = Metrics(self.run, start, evaluated=evaluated)
        self.write_status(start)
        self.reporter.note(f"resuming {self.run} at step {start} of {self.steps}")
        if start and self.schedule.evaluates_after(start) and not evaluated:
            self.evaluate(start)  # it was cut off
        return start

    def run_from(self, start: int) -> Result:
        """Train from step `start` to the end."""
        config, model = self.config, self.trainee.model
        self.agree()
        model.train()
        batches = train_batches(
            self.material.index,
            self.material.dataset,
            self.material.definition.names,
            view_settings(config),
            batch=config.training.batch,
            seed=config.seed,
            start_step=start,
            stop_step=self.steps,
            workers=config.data.workers,
            pin=self.device.type == "cuda",
            positions=self.positions,
            sharing=self.team.sharing,
            need_unlabeled=config.uses_unlabeled,
            damaged=config.data.damaged,
            say=self.reporter.note,
        )
        self.say_length()
        self.reporter.start("train", self.steps, start)
        self.clock = time.monotonic()
        with closing(batches):
            for batch in batches:
                if not bool((batch.x_label != IGNORE).any()) and self.team.count == 1:
                    self.say(self.watch.ignores(batch.step, self.labeled_of(batch.step)))

                # One step of Sec. 3.
                self.unlogged.append(self.step(batch))
                self.say_passed_over(batch.passed_over)
                done = batch.step + 1

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
        trainee.optimizer.step()
        return losses

    def say_length(self) -> None:
        """Say what a pass over very many images means, before it begins."""
        training = self.config.training
        if self.schedule.epoch > _LONG_EPOCH and training.evaluate_steps == "none":
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

    def weight_of_guidance(self, step: int) -> float:
        """lambda_DC of a step."""
        start, end = self.config.guidance.lambda_DC
        return lambda_DC(start, end, step, self.steps)

    def log(self, done: int) -> None:
        """Average the last steps' values, write and report them; stop where the loss is not finite."""
        self.refuse_poison(done)
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
        self.say(self.watch.logs(done, values))

    def refuse_poison(self, done: int, model: SemiVL | None = None) -> None:
        """Stop before values that are no numbers are averaged away or, with `model`, kept; keep what they came from."""
        values = self.totals(self.unlogged)
        broken = find_broken(values, done, model)
        if broken is None:
            return
        said = f"step {broken.step}: the {broken.what}"
        if self.team.leads:
            lr = self.config.optimizer.lr * rate_factor(broken.step, self.steps, self.config.optimizer.power)
            facts = {"seed": self.config.seed, "lr": lr, "lambda_DC": self.weight_of_guidance(broken.step)}
            try:
                kept = keep_evidence(self.run, broken, self.config, self.material, self.trainee, values, facts)
                said += f"; {kept} holds its batch, values and weights"
            except RunError as error:
                said += f"; {error}"
        self.team.wait()
        last = max(checkpoint_steps(self.run), default=0)
        bf16 = not isinstance(autocast(self.config, self.device), nullcontext)
        raise RunError(
            f"{said}. {advice(self.config, values, bf16=bf16)}. The run stands at step {last}; --resume repeats the "
            "same steps, so change the settings in a new run, or mend what the pictures show"
        )

    def totals(self, values: Sequence[Mapping[str, Tensor]]) -> list[dict[str, float]]:
        """Return the values of steps, summed over the processes; the device is waited for."""
        if not values:
            return []
        names = list(values[0])
        table = torch.stack([torch.stack([step[name].detach().float() for name in names]) for step in values])
        return [dict(zip(names, row, strict=True)) for row in self.team.total(table).tolist()]

    def save(self, done: int) -> None:
        """Write a checkpoint; the lines of `metrics.jsonl` that belong before it are on the disk by then."""
        began = time.monotonic()
        self.refuse_poison(done, self.trainee.model)
        unlogged = self.totals(self.unlogged)
        if not self.team.leads:
            return
        self.metrics.keep()
        self.seconds = time.monotonic() - self.began
        state = {
            **self.selection.as_dict(),
            "seconds": self.seconds,
            "clip_sha256": self.trainee.clip_sha256,
            "micro_batch": self.portions.kept,
            "unlogged": unlogged,
            "watch": self.watch.state(),
        }
        save_checkpoint(
            self.run,
            done,
            self.trainee.model,
            self.trainee.spec,
            self.trainee.optimizer,
            to_toml(self.config),
            self.material.definition_text,
            state,
        )
        self.write_status(done)
        prune_checkpoints(self.run, self.selection.step)
        self.clock += time.monotonic() - began

    def evaluate(self, done: int) -> None:
        """Score the model of checkpoint `done`, and write the scores beside it."""
        began = time.monotonic()
        index = self.material.index
        scores = self.score(done, index.held_out or index.val)
        self.selection.add(scores)
        if not self.team.leads:
            return
        self.metrics.write(done, "eval", {"miou": scores.miou, "iou": scores.iou})
        self.metrics.keep()
        add_scores(self.run, done, self.selection.as_dict())
        self.write_status(done)
        prune_checkpoints(self.run, self.selection.step)
        if done < self.steps:
            where = " on the held-out labels" if self.material.index.held_out else ""
            self.reporter.note(f"step {done}: mIoU {100 * scores.miou:.2f} %{where}")
        self.say(self.watch.evaluates(scores))
        self.clock += time.monotonic() - began

    def score(self, step: int, records: Sequence[Record]) -> Scores:
        """Segment validation images, or those that are held out."""
        config, material = self.config, self.material
        return evaluate(
            self.trainee.model,
            records,
            material.dataset,
            material.definition.names,
            inference(config, self.trainee.spec.smallest),
            short_side=short_side(config),
            workers=config.data.workers,
            step=step,
            reporter=self.reporter,
            autocast=autocast(config, self.device),
            team=self.team,
            between=(lambda: self.between_images(step))
            if self.team.count == 1
            else None,  # many could not agree in the midst of it
        )

    def between_images(self, done: int) -> None:
        """Stop where somebody asks for it; an evaluation that is cut off is made again when the run goes on."""
        if self.stop.signal_number is not None:
            self.stop_at(done, self.stop.signal_number)

    def stop_at(self, done: int, signal_number: int) -> NoReturn:
        """End in the middle; checkpoint `done` is there by then."""
        self.team.wait()
        raise Interrupted(
            f"stopped at step {done} of {self.steps}; go on with: semivl train --resume --out {self.run}", signal_number
        )

    def write_status(self, done: int | None, *, finished: bool = False) -> None:
        """Say in `scores.json` and `run.json` where the run stands; both follow from the checkpoint."""
        if not self.team.leads:
            return
        if self.selection.last:
            write_json(self.run / "scores.json", self.selection.as_dict())
        status = {"last": done, "best": self.selection.best.get("step"), "select": self.selection.rule}
        write_json(self.run / "run.json", {**status, "finished": finished, "steps": self.steps})

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
        self.say(self.watch.ends())
        if self.team.leads:
            write_examples(self.run, self.trainee, self.material, self.config, self.device)
        self.write_status(self.steps, finished=True)
        return _result(self.run, self.selection.as_dict())

    def say(self, lines: Sequence[str]) -> None:
        """Say what was noticed."""
        for line in lines:
            self.reporter.note(f"note: {line}")

    def labeled_of(self, step: int) -> list[str]:
        """Name the labelled images of a step."""
        labeled, _ = drawn_records(
            self.material.index,
            batch=self.config.training.batch,
            seed=self.config.seed,
            step=step,
            need_unlabeled=False,
        )
        return [record.id for record in labeled]


def kept_result(run: Path) -> Result:
    """Read the result of a run that is finished."""
    return _result(run, read_json(run / "scores.json"))


def _result(run: Path, kept: Mapping[str, Any]) -> Result:
    last, best = Scores.of(kept["last"]), Scores.of(kept["best"])
    result = Scores.of(kept["result"]) if kept.get("result") else best  # of an earlier version
    selected = described(kept.get("select", "best"), result.step, best.step)
    return Result(run=run, selected=selected, result=result, last=last, best=best)
