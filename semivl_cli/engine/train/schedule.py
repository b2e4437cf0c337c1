"""How long a training is, when it is logged, evaluated and saved, and how rates and lambda_DC fall (Sec. 3.5, 4.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from semivl_cli.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What is due at which step."""

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

    def rate_factor(self, step: int) -> float:
        """Factor of the initial learning rates at a step."""
        return rate_factor(step, self.steps, self.config.optimizer.power)

    def lambda_DC(self, step: int) -> float:
        """Weight of the guidance at a step."""
        start, end = self.config.guidance.lambda_DC
        return lambda_DC(start, end, step, self.steps)


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


def rate_factor(step: int, steps: int, power: float) -> float:
    """Factor of the initial rates at `step` of `steps`: (1 - t/T)^power, t the step done before: 0 and 1 agree."""
    done = max(step - 1, 0)
    return float((1 - done / steps) ** power)


def lambda_DC(start: float, end: float, step: int, steps: int) -> float:
    """Weight of the guidance at `step` of `steps`, linear from `start` to `end` (Sec. 3.5)."""
    progress = step / steps
    return start * (1 - progress) + end * progress
