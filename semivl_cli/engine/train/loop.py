"""The main loop: step, log, save, stop, evaluate."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import NoReturn

import torch
from torch import Tensor

from semivl_cli.data.contract import Record
from semivl_cli.data.load.batches import Batch, labeled_records, train_batches
from semivl_cli.engine.device import memory_watched, widest_float
from semivl_cli.engine.distributed.batchnorm import convert_sync_batchnorm
from semivl_cli.engine.distributed.gradients import GradientBuckets
from semivl_cli.engine.infer.examples import write_examples
from semivl_cli.engine.infer.measure import Scores, measure_iou
from semivl_cli.engine.infer.windows import Inference
from semivl_cli.engine.rundir.checkpoint import MODEL, damage, load_checkpoint
from semivl_cli.engine.rundir.layout import checkpoint_folder
from semivl_cli.engine.signals import StopWish
from semivl_cli.engine.train.accumulate import accumulate_gradients
from semivl_cli.engine.train.best_step import Result, result_of
from semivl_cli.engine.train.guidance_labels import make_targets
from semivl_cli.engine.train.inputs import step_inputs
from semivl_cli.engine.train.microbatch import MicroBatch
from semivl_cli.engine.train.optim import set_rates
from semivl_cli.engine.train.progress import Progress
from semivl_cli.engine.train.trainee import Training
from semivl_cli.errors import Interrupted, RunError


class Loop:
    """The story of a training's steps."""

    def __init__(self, training: Training) -> None:
        self.training, self.stop = training, StopWish()
        self.config, self.trainee, self.material = training.config, training.trainee, training.material
        self.reporter, self.process_group = training.reporter, training.process_group
        self.schedule, self.steps = training.schedule, training.schedule.steps
        self.inference = Inference(self.config, self.trainee.spec.smallest)
        convert_sync_batchnorm(self.trainee.model, self.process_group)
        self.buckets = GradientBuckets(self.process_group, self.trainee.parameters)
        self.micro_batch = MicroBatch(training)
        self.progress = Progress(training, self.micro_batch)
        self.done = 0
        self.clock = time.monotonic()
        """When the steps since the last line of `metrics.jsonl` began, saving and evaluating not counted."""

    def run(self, *, resume: bool, noticed: Sequence[str]) -> Result:
        """Train to the last step, with `resume` from the newest undamaged checkpoint; `noticed`: lines to say first."""
        counts = self.training.counts
        with self.stop:
            start = self.progress.restore() if resume else self.progress.begin()
            if counts is not None and start == 0:
                noticed = [*noticed, *self.progress.alarms.begins(counts, self.material.definition.names)]
            self.progress.say(start, noticed)
            if differ := self.process_group.broadcast_weights(self.trainee.model):
                self.reporter.note(
                    f"{len(differ)} tensors ({differ[0]}, ...) were not the same in all processes, as where machines "
                    "compute differently: all take those of the first"
                )
            self.run_from(start)
            return self.finish()

    def run_from(self, start: int) -> None:
        """Take all steps that are left."""
        self.done = start
        if start and self.schedule.evaluates_after(start) and self.progress.selection.last.get("step") != start:
            self.evaluate(start)  # it was cut off
        self.trainee.model.train()
        batches = train_batches(
            self.material.index,
            self.material.dataset,
            self.material.definition.names,
            self.config,
            range(start, self.steps),
            pin=self.training.device.type == "cuda",
            rank_slice=self.training.positions,
            sharing=self.process_group.sharing,
            say=self.reporter.note,
        )
        if self.schedule.epoch > 100_000 and self.config.training.evaluate_steps is None:  # nobody waits for its end
            self.reporter.note(
                f"a pass over the unlabelled images takes {self.schedule.epoch} steps, this training has {self.steps}: "
                "training.steps and training.evaluate_steps set its length and its evaluations in steps"
            )
        self.reporter.start("train", self.steps, start)
        self.clock = time.monotonic()
        with closing(batches):
            for batch in batches:
                # One step of Sec. 3.
                self.progress.unlogged.append(self.step(batch))
                self.say_passed_over(batch.passed_over)
                self.done = done = batch.step + 1
                if done == start + 1:
                    self.say_hours(time.monotonic() - self.clock)

                # Say how it goes; only here the device is waited for.
                if self.schedule.logs_after(done):
                    self.log(done)

                # Keep the state, stop where somebody asks for it, look at the validation images.
                signal_number = self.process_group.agree_to_stop(self.stop.signal_number)
                if self.schedule.saves_after(done) or signal_number is not None:
                    with self.clock_stopped():
                        self.progress.save(done)
                if signal_number is not None:
                    self.stop_at(done, signal_number)
                if self.schedule.evaluates_after(done):
                    with self.clock_stopped():
                        self.evaluate(done)
        self.reporter.finish("train")
        if self.progress.passed_over:
            self.reporter.note(f"{self.progress.passed_over} times an unlabelled image was passed over")

    def say_hours(self, seconds: float) -> None:
        """Say how long a training on a CPU will take, which waits for each step, if its first one tells of hours."""
        hours = seconds * (self.steps - self.done) / 3600
        if self.training.device.type == "cpu" and hours >= 1:
            self.reporter.note(
                f"the first step took {seconds:.1f} s: about {hours:.0f} hours for all {self.steps} on this CPU; fewer "
                "(training.steps), a smaller data.crop or a GPU shorten that, --recipe tiny shows the mechanics"
            )

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Take one optimizer step; where memory is short, in smaller parts."""
        config, trainee, schedule = self.config, self.trainee, self.schedule
        x, u = step_inputs(batch, self.training.device, config, trainee.channels, self.training.positions.start)
        lambda_DC = schedule.lambda_DC(batch.step)
        if not self.micro_batch.fitted:
            self.micro_batch.fit(x, u, lambda_DC)
        set_rates(trainee.optimizer, schedule.rate_factor(batch.step))
        targets = None
        while True:
            trainee.optimizer.zero_grad(set_to_none=True)
            try:
                with memory_watched():
                    targets = targets or make_targets(
                        trainee.guide, x, u, config, self.micro_batch.images, self.process_group
                    )
                    losses = accumulate_gradients(
                        trainee.model, x, u, targets, config, lambda_DC, self.micro_batch.images, self.buckets
                    )
                break
            except torch.OutOfMemoryError as error:
                self.micro_batch.shrink(error)
        self.buckets.all_reduce()
        try:
            with memory_watched():
                trainee.optimizer.step()  # the first one makes the moments
        except torch.OutOfMemoryError as error:
            raise self.micro_batch.refusal() from error
        return losses

    def log(self, done: int) -> None:
        """Average the last steps' values, write and report them; stop where the loss is not finite."""
        progress, training = self.progress, self.config.training
        steps = progress.finite_values(done)
        for step, summed in enumerate(steps, done - len(steps)):
            if summed.get("labeled_pixels") == 0:
                ids = [record.id for record in labeled_records(self.material.index, self.config, step)]
                progress.say(done, progress.alarms.ignores(step, ids))
        seen, progress.unlogged = progress.unlogged, []
        elapsed, self.clock = time.monotonic() - self.clock, time.monotonic()
        wide = widest_float(self.training.device)
        means = torch.stack([torch.stack([step[name] for step in seen]).mean().to(wide) for name in seen[0]])
        values = dict(zip(seen[0], self.process_group.all_reduce(means).tolist(), strict=True))
        images = training.batch * len(seen) * (2 if self.config.uses_unlabeled else 1)
        values["lambda_DC"] = self.schedule.lambda_DC(done - 1)
        values["lr"] = self.config.optimizer.lr * self.schedule.rate_factor(done - 1)
        values["images_per_second"] = images / max(elapsed, 1e-9)
        values["seconds"] = time.monotonic() - progress.began
        if progress.passed_over:
            values["passed_over"] = progress.passed_over
        if progress.metrics is not None:
            progress.metrics.write(done, "train", values)
        self.reporter.advance("train", done, values)
        progress.say(done, progress.alarms.logs(done, values))

    def evaluate(self, done: int) -> None:
        """Score the model of checkpoint `done`, and write the scores beside it."""
        index, progress = self.material.index, self.progress
        scores = self.score(done, index.held_out or index.val)
        progress.selection.add(scores)
        if progress.metrics is None:
            return
        progress.metrics.write(done, "eval", {name: scores.as_dict()[name] for name in ("miou", "miou_present", "iou")})
        if done < self.steps:
            where = " on the held-out labels" if index.held_out else ""
            self.reporter.note(f"step {done}: mIoU {100 * scores.miou:.2f} %{where}")
        progress.say(done, progress.alarms.evaluates(scores), "eval")
        progress.save_scores(done)

    def score(self, step: int, records: Sequence[Record]) -> Scores:
        """Segment validation images, or those that are held out."""
        material, process_group = self.material, self.process_group
        try:
            with memory_watched():
                return measure_iou(
                    self.trainee.model,
                    records,
                    material.dataset,
                    material.definition.names,
                    self.inference,
                    step=step,
                    reporter=self.reporter,
                    process_group=process_group,
                    between=self.between_images if process_group.world_size == 1 else None,  # many cannot agree midway
                )
        except torch.OutOfMemoryError as error:
            raise RunError(
                f"out of memory while images are scored, step {step} is kept: free the device of other programs and go "
                "on with --resume, or begin anew with a smaller evaluation.short_side or data.crop"
            ) from error

    def finish(self) -> Result:
        """Take the chosen model, look with it at the validation images if nothing did so far, and show some of them."""
        run, selection = self.training.run, self.progress.selection
        chosen = selection.step
        if chosen is not None and chosen != self.steps:
            wrong = damage(checkpoint_folder(run, chosen), [MODEL])
            if self.process_group.broadcast(wrong) is None:
                self.trainee.model.load_state_dict(load_checkpoint(run, chosen).model.state_dict())
            else:
                self.reporter.note(f"checkpoint {chosen}, the best, is damaged ({wrong}): the last is taken instead")
                chosen = self.steps
        if selection.rule == "held-out" and chosen is not None:
            selection.add_val(self.score(chosen, self.material.index.val))
        self.progress.say(self.steps, self.progress.alarms.ends(), "end")
        if self.process_group.is_main:
            write_examples(run, self.trainee.model, self.trainee.guide, self.material, self.inference)
        self.progress.write_status(self.steps, finished=True)
        result = result_of(run, selection.saved())
        return replace(result, stop=self.process_group.broadcast(self.stop.signal_number))

    def stop_at(self, done: int, signal_number: int) -> NoReturn:
        """End in the middle; checkpoint `done` is there by then."""
        self.process_group.barrier()
        raise Interrupted(
            f"stopped at step {done} of {self.steps}; go on with: semivl train --resume "
            f"--out {shlex.quote(str(self.training.run))}",
            signal_number,
        )

    def between_images(self) -> None:
        """Stop where somebody asks for it; an evaluation that is cut off is made again when the run goes on."""
        if self.stop.signal_number is not None:
            self.stop_at(self.done, self.stop.signal_number)

    @contextmanager
    def clock_stopped(self) -> Iterator[None]:
        """Leave the time inside out of `images_per_second`."""
        began = time.monotonic()
        yield
        self.clock += time.monotonic() - began

    def say_passed_over(self, reasons: Sequence[str]) -> None:
        """Count unlabelled images that could not be used; say the first, then each time there are ten times as many."""
        for reason in reasons:
            self.progress.passed_over += 1
            number = self.progress.passed_over
            if str(number).strip("0") == "1":
                others = "" if number == 1 else f", {number} since the start"
                self.reporter.note(f"passed over: {reason}{others}")
