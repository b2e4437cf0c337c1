"""The main loop: step, report, evaluate, save."""

from __future__ import annotations

import math
import shutil
import time
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..config import RunConfig, parse_toml, resolve, to_toml
from ..data.index import check_labels
from ..data.loader import Batch, train_batches
from ..errors import InputError, Interrupted, RunError
from .batchnorm import synchronize
from .checkpoint import checkpoint_steps, load_training, prune_checkpoints, save_checkpoint
from .evaluate import Scores, evaluate
from .examples import write_examples
from .exchange import Exchange
from .inputs import step_inputs
from .losses import lambda_DC
from .optim import rate_factor, set_rates
from .parallel import ALONE, Team
from .reporter import Reporter
from .run import Metrics, locked, new_run, read_json, read_status, write_json, write_text
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


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a training leaves behind."""

    run: Path
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
        resume: whether `run` goes on where its newest complete checkpoint stands.
        team: the processes that train together; the leader alone writes.

    Raises:
        Interrupted: Ctrl-C or SIGTERM, after the state was saved.
        RunError: the loss is not finite, memory or disk are full; the last checkpoint stands.
        InputError: data, definition or weights do not fit.
    """
    device = pick_device(config.device, team)
    with team.one_first():
        material = open_material(config, run / "definition.toml" if run is not None and resume else None)
    for note in material.index.notes:
        reporter.note(note)
    if team.leads:
        check_labels(material.index, material.dataset, material.definition.names)
    run = team.tell(run or new_run(config.dataset, len(material.index.labeled)))
    new = team.leads and not run.exists()
    try:
        with locked(run) if team.leads else nullcontext():
            with team.one_first():
                trainee = build_trainee(config, material, device, reporter)
            loop = _Loop(config, run, material, trainee, device, reporter, team)
            start = loop.restore() if resume else loop.begin()
            return loop.run_from(start)
    except InputError:
        if new and not checkpoint_steps(run):  # a start that failed leaves no run behind
            shutil.rmtree(run, ignore_errors=True)
        raise


class _Loop:
    """The state of one training, and the story of its steps."""

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
        self.epoch = steps_per_epoch(config, len(material.index.unlabeled))
        self.steps = total_steps(config, self.epoch)
        batch, micro_batch = config.training.batch, config.training.micro_batch
        self.positions = team.share(batch, config.micro_batch_unit)
        self.share = len(range(batch)[self.positions])
        self.micro_batch = self.share if micro_batch == "auto" else min(micro_batch, self.share)
        self.normalizes_batches = trainee.model.detail is not None
        synchronize(trainee.model, team)
        trained = [parameter for group in trainee.optimizer.param_groups for parameter in group["params"]]
        self.exchange = Exchange(team, trained, batch, self.positions)
        self.best: dict[str, Any] = {}
        self.last: dict[str, Any] = {}
        self.seconds = 0.0

    def begin(self) -> int:
        """Write what explains the run before its first step."""
        if not self.team.leads:
            return 0
        index, trainee = self.material.index, self.trainee
        facts = (
            f"# Written by semivl {__version__}, torch {torch.__version__}.\n"
            f"# Weights: {trainee.clip_name}, sha256 {trainee.clip_sha256}\n"
            f"# Data: {self.material.root}, split sha256 {index.split()['sha256']}\n"
            f"# Length: {self.steps} steps, {self.epoch} an epoch\n\n"
        )
        write_text(self.run / "definition.toml", self.material.definition_text)
        write_json(self.run / "split.json", index.split())
        write_text(self.run / "run.toml", facts + to_toml(self.config))
        write_json(self.run / "run.json", {"last": None, "best": None, "finished": False, "steps": self.steps})
        self.metrics = Metrics(self.run, 0)
        return 0

    def restore(self) -> int:
        """Go back to the newest complete checkpoint; without one, to the start."""
        steps = self.team.tell(checkpoint_steps(self.run))
        if not steps:
            self.reporter.note(f"{self.run} has no complete checkpoint: it starts again from step 0")
            return self.begin()
        state = load_training(self.run, steps[-1], self.trainee.model, self.trainee.optimizer)
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
        self.best, self.last, self.seconds = state["best"], state["last"], state["seconds"]
        if self.team.leads:
            write_json(self.run / "split.json", split)
            self.metrics = Metrics(self.run, steps[-1])
        self.reporter.note(f"resuming {self.run} at step {steps[-1]} of {self.steps}")
        return steps[-1]

    def run_from(self, start: int) -> Result:
        """Train from step `start` to the end."""
        config, model = self.config, self.trainee.model
        self.agree()
        self.began = time.monotonic() - self.seconds
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
        )
        self.reporter.start("train", self.steps, start)
        seen: list[dict[str, Tensor]] = []
        clock = time.monotonic()
        with StopWish() as stop, closing(batches):
            for batch in batches:
                # One step of Sec. 3.
                seen.append(self.step(batch))
                done = batch.step + 1

                # Say how it goes; only here the device is waited for.
                if done % config.training.log_steps == 0 or done == self.steps:
                    elapsed, clock = time.monotonic() - clock, time.monotonic()
                    self.log(done, seen, elapsed)
                    seen = []

                # Look at the validation images, and keep the state.
                if self.evaluates_after(done):
                    self.evaluate(done)
                    self.save(done)
                    clock = time.monotonic()
                elif done % config.training.save_steps == 0:
                    self.save(done)
                    clock = time.monotonic()
                wish = self.team.agree_to_stop(stop.signal_number)
                if wish is not None and done < self.steps:
                    self.save(done)
                    self.team.wait()
                    self.reporter.finish("train")
                    raise Interrupted(
                        f"stopped at step {done} of {self.steps}; go on with: semivl train --resume --out {self.run}",
                        wish,
                    )
        self.reporter.finish("train")
        if not self.last:  # a finished training, resumed before its last evaluation was written
            self.evaluate(self.steps)
        return self.finish()

    def agree(self) -> None:
        """Let all processes begin from the same weights, and say where BatchNorm makes the parts of a batch matter."""
        if unlike := self.team.unlike(self.trainee.model):
            self.reporter.note(
                f"{len(unlike)} tensors ({unlike[0]}, ...) were not the same in all processes, as where machines "
                "compute differently: all take those of the first"
            )
        if not self.normalizes_batches:
            return
        parts = -(-self.share // self.micro_batch)
        if self.team.least(parts) != -self.team.least(-parts):
            raise InputError(
                f"model.detail normalises over the images of all {self.team.count} processes, which then need equally "
                f"many parts: training.batch = {self.config.training.batch} does not give them; try a batch that "
                "divides by the number of processes"
            )
        if self.micro_batch < self.share:
            self.reporter.note(
                f"BatchNorm of model.detail sees {self.micro_batch * self.team.count} of the "
                f"{self.config.training.batch} images at a time: with it, and it alone, parts are not the whole batch"
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
                    self.micro_batch,
                    autocast(config, self.device),
                    self.exchange,
                )
                break
            except torch.OutOfMemoryError as error:
                self.shrink(error)
        trainee.optimizer.step()
        return losses

    def weight_of_guidance(self, step: int) -> float:
        """lambda_DC of a step."""
        start, end = self.config.guidance.lambda_DC
        return lambda_DC(start, end, step, self.steps)

    def shrink(self, error: torch.OutOfMemoryError) -> None:
        """Halve the micro-batch, which changes nothing but the memory it takes; give up where it cannot shrink."""
        unit = self.config.micro_batch_unit
        half = self.micro_batch // 2 // unit * unit
        together = self.normalizes_batches and self.team.count > 1  # nobody can go back alone
        if self.config.training.micro_batch != "auto" or half < unit or together:
            raise RunError(
                f"out of memory with {self.micro_batch} images at once: try --set training.micro_batch={unit}, "
                "training.precision=bf16, or a smaller data.crop"
            ) from error
        self.micro_batch = half
        torch.cuda.empty_cache()
        self.reporter.note(f"memory is short: {half} images at once from here on; the batch stays the same")

    def log(self, done: int, seen: list[dict[str, Tensor]], elapsed: float) -> None:
        """Average the last steps' values, write and report them; stop where the loss is not finite."""
        means = torch.stack([torch.stack([step[name] for step in seen]).mean().double() for name in seen[0]])
        values = dict(zip(seen[0], self.team.total(means).tolist(), strict=True))
        if not math.isfinite(values["loss"]):
            raise RunError(
                f"the loss is {values['loss']} near step {done}: a smaller optimizer.lr or training.precision=fp32 may "
                f"help; the run stands at its last checkpoint (step {max(checkpoint_steps(self.run), default=0)})"
            )
        kinds = 2 if self.config.uses_unlabeled else 1
        values["lambda_DC"] = self.weight_of_guidance(done - 1)
        values["lr"] = self.config.optimizer.lr * rate_factor(done - 1, self.steps, self.config.optimizer.power)
        values["images_per_second"] = kinds * self.config.training.batch * len(seen) / max(elapsed, 1e-9)
        values["seconds"] = time.monotonic() - self.began
        if self.team.leads:
            self.metrics.write(done, "train", values)
        self.reporter.advance("train", done, values)

    def evaluates_after(self, done: int) -> bool:
        """Whether the validation images are looked at after `done` steps."""
        training = self.config.training
        if done == self.steps:
            return True
        if training.evaluate_steps != "none":
            return done % training.evaluate_steps == 0
        if training.evaluate_every == "none":
            return False
        return done % max(round(training.evaluate_every * self.epoch), 1) == 0

    def evaluate(self, done: int) -> None:
        """Score the model on the validation images and remember the best."""
        config, material = self.config, self.material
        scores = evaluate(
            self.trainee.model,
            material.index.val,
            material.dataset,
            material.definition.names,
            inference(config, self.trainee.spec.smallest),
            short_side=short_side(config),
            workers=config.data.workers,
            step=done,
            reporter=self.reporter,
            autocast=autocast(config, self.device),
            team=self.team,
        )
        self.last = scores.as_dict()
        if not self.best or scores.miou > self.best["miou"]:
            self.best = {**self.last, "selected_on": "val"}
        if not self.team.leads:
            return
        self.metrics.write(done, "eval", {"miou": scores.miou, "iou": scores.iou})
        write_json(self.run / "scores.json", {"last": self.last, "best": self.best})
        if done < self.steps:
            self.reporter.note(f"step {done}: mIoU {100 * scores.miou:.2f} %")

    def save(self, done: int) -> None:
        """Write a checkpoint and say in `run.json` where the run stands."""
        if not self.team.leads:
            return
        self.seconds = time.monotonic() - self.began
        state = {
            "best": self.best,
            "last": self.last,
            "seconds": self.seconds,
            "clip_sha256": self.trainee.clip_sha256,
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
        best = self.best.get("step")
        status = {"last": done, "best": best, "finished": done == self.steps, "steps": self.steps}
        write_json(self.run / "run.json", status)
        prune_checkpoints(self.run, best)

    def finish(self) -> Result:
        """Show the model on some validation images."""
        if self.team.leads:
            write_examples(self.run, self.trainee, self.material, self.config, self.device)
        scores = [
            Scores(**{key: value for key, value in kept.items() if key != "selected_on"})
            for kept in (self.last, self.best)
        ]
        return Result(run=self.run, last=scores[0], best=scores[1])


def steps_per_epoch(config: RunConfig, unlabeled: int) -> int:
    """Steps of one pass over the unlabelled images, as `batch / group` processes of `group` images count it."""
    group = config.loss.group or config.training.batch
    processes = config.training.batch // group
    return max(math.ceil(unlabeled / processes) // group, 1)


def total_steps(config: RunConfig, epoch: int) -> int:
    """Length of the training in steps."""
    if config.training.steps != "none":
        return config.training.steps
    assert config.training.epochs != "none", "RunConfig allows one of them to be none"
    return max(round(config.training.epochs * epoch), 1)


def read_config(run: Path) -> RunConfig:
    """Read the settings of a run."""
    path = run / "run.toml"
    return resolve(parse_toml(path.read_text(encoding="utf-8"), str(path)), source=str(path))


def is_finished(run: Path) -> bool:
    """Whether the run took its last step."""
    return bool(read_status(run).get("finished")) and bool(read_json(run / "scores.json"))
