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
        every = training.evaluate_steps
        if every is None and training.evaluate_every is not None:
            every = max(round(training.evaluate_every * self.epoch), 1)
        return done == self.steps or (every is not None and done % every == 0)

    def saves_after(self, done: int) -> bool:
        """Whether a checkpoint is written: also before every evaluation, so that none has to be waited for twice."""
        return self.evaluates_after(done) or done % self.config.training.save_steps == 0

    def rate_factor(self, step: int) -> float:
        """Factor of the initial learning rates: (1 - t/T)^power, t the step done before: steps 0 and 1 agree."""
        return float((1 - max(step - 1, 0) / self.steps) ** self.config.optimizer.power)

    def lambda_DC(self, step: int) -> float:
        """Weight of the guidance at a step, linear over the training (Sec. 3.5)."""
        start, end = self.config.guidance.lambda_DC
        progress = step / self.steps
        return start * (1 - progress) + end * progress


def schedule_of(config: RunConfig, unlabeled: int) -> Schedule:
    """Return the schedule for so many unlabelled images, of which `batch / group` processes take `group` at a time."""
    group = config.loss.group or config.training.batch
    processes = config.training.batch // group
    epoch = max(math.ceil(unlabeled / processes) // group, 1)
    steps = config.training.steps
    if steps is None:
        assert config.training.epochs is not None, "RunConfig allows one of them to be none"
        steps = max(round(config.training.epochs * epoch), 1)
    return Schedule(config=config, epoch=epoch, steps=steps)
