"""How long a training is, and after which steps it is logged, evaluated and saved."""

from __future__ import annotations

import math
from dataclasses import dataclass

from semivl_cli.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What is due after how many steps."""

    config: RunConfig
    epoch: int
    """Steps of one pass over the unlabelled images."""
    steps: int
    """Length of the training."""

    def logs_after(self, done: int) -> bool:
        """Whether a line of `metrics.jsonl` is due."""
        return done % self.config.training.log_steps == 0 or done == self.steps

    def evaluates_after(self, done: int) -> bool:
        """Whether the model is scored."""
        training = self.config.training
        if done == self.steps:
            return True
        if training.evaluate_steps is not None:
            return done % training.evaluate_steps == 0
        if training.evaluate_every is None:
            return False
        return done % max(round(training.evaluate_every * self.epoch), 1) == 0

    def saves_after(self, done: int) -> bool:
        """Whether a checkpoint is written: also before every evaluation, so that none has to be waited for twice."""
        return self.evaluates_after(done) or done % self.config.training.save_steps == 0


def schedule_of(config: RunConfig, unlabeled: int) -> Schedule:
    """Return the schedule for so many unlabelled images."""
    epoch = steps_per_epoch(config, unlabeled)
    return Schedule(config=config, epoch=epoch, steps=total_steps(config, epoch))


def steps_per_epoch(config: RunConfig, unlabeled: int) -> int:
    """Steps of one pass over the unlabelled images, as `batch / group` processes of `group` images count it."""
    group = config.loss.group or config.training.batch
    processes = config.training.batch // group
    return max(math.ceil(unlabeled / processes) // group, 1)


def total_steps(config: RunConfig, epoch: int) -> int:
    """Length of the training in steps."""
    if config.training.steps is not None:
        return config.training.steps
    assert config.training.epochs is not None, "RunConfig allows one of them to be none"
    return max(round(config.training.epochs * epoch), 1)
