"""What a training is between two steps: begun, saved and restored so exactly that no interruption can be seen."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch import Tensor

from semivl_cli import __version__
from semivl_cli.config import RunConfig, read_settings, to_toml
from semivl_cli.engine.build import Material, Trainee
from semivl_cli.engine.device import autocast
from semivl_cli.engine.distributed.batchnorm import synchronize
from semivl_cli.engine.distributed.gradients import Exchange
from semivl_cli.engine.distributed.group import Team
from semivl_cli.engine.environment import differences, environment
from semivl_cli.engine.rundir.checkpoint import load_training, prune_checkpoints, save_checkpoint, set_aside
from semivl_cli.engine.rundir.integrity import checkpoint_steps, first_sound
from semivl_cli.engine.rundir.layout import Found, Metrics, read_json
from semivl_cli.engine.train.alarms import Watch
from semivl_cli.engine.train.losses import lambda_DC
from semivl_cli.engine.train.microbatch import Portions
from semivl_cli.engine.train.nonfinite import advice, find_broken, keep_evidence
from semivl_cli.engine.train.optim import rate_factor
from semivl_cli.engine.train.schedule import schedule_of
from semivl_cli.engine.train.selection import Selection
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import sweep, write_json, write_text
from semivl_cli.model.semivl import SemiVL
from semivl_cli.reporter import Reporter


class State:
    """Everything that a training holds, and its way to the disk and back; the leader alone writes."""

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
        self.passed_over = 0
        """Unlabelled images that could not be used."""
        self.seconds = 0.0
        self.began = self.clock = time.monotonic()

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
        table = tomli_w.dumps({"environment": self.environment()})
        write_text(self.run / "run.toml", f"{facts}{to_toml(self.config)}\n{table}")
        self.metrics = Metrics(self.run, -1)  # none: what is noticed before the first step is noticed again
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
        self.seconds, self.passed_over = state["seconds"], state.get("passed_over", 0)
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
        return start

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
            "passed_over": self.passed_over,
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

    def write_status(self, done: int | None, *, finished: bool = False) -> None:
        """Say in `scores.json` and `run.json` where the run stands; both follow from the checkpoint."""
        if not self.team.leads:
            return
        if self.selection.last:
            write_json(self.run / "scores.json", self.selection.as_dict())
        status = {"last": done, "best": self.selection.best.get("step"), "select": self.selection.rule}
        write_json(self.run / "run.json", {**status, "finished": finished, "steps": self.steps})

    def environment(self) -> dict[str, Any]:
        """What must be alike for the same bits."""
        return environment(self.device, self.material.index, self.trainee.clip_sha256)

    def compare(self, before: Path) -> list[str]:
        """Name what is not as it was when `before`, the `run.toml` of a run, was written."""
        _, kept = read_settings(before)
        changed = differences(kept, self.environment())
        return [f"not as it was for {before}: {', '.join(changed)}; the numbers may differ"] if changed else []

    def refuse_poison(self, done: int, model: SemiVL | None = None) -> list[dict[str, float]]:
        """Stop before values that are no numbers are averaged away or, with `model`, kept; keep what they came from.

        Returns:
            The values of the steps since the last line of `metrics.jsonl`, of all processes.
        """
        values = self.totals(self.unlogged)
        broken = find_broken(values, done, model)
        if broken is None:
            return values
        said = f"step {broken.step}: the {broken.what}"
        if self.team.leads:
            lr = self.config.optimizer.lr * rate_factor(broken.step, self.steps, self.config.optimizer.power)
            facts = {"seed": self.config.seed, "lr": lr, "lambda_DC": self.weight_of_guidance(broken.step)}
            try:
                kept = keep_evidence(self.run, broken, self.config, self.material, self.trainee, values, facts)
                said += f"; {kept} holds its batch, values and weights"
                self.metrics.alarm(done, said, "train")
            except RunError as error:
                said += f"; {error}"
        said = self.team.tell(said)  # whichever process is the first to end says it
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

    def weight_of_guidance(self, step: int) -> float:
        """lambda_DC of a step."""
        start, end = self.config.guidance.lambda_DC
        return lambda_DC(start, end, step, self.steps)

    def say(self, step: int, lines: Sequence[str], found: Found = "train") -> None:
        """Say what was noticed, and keep it."""
        for line in lines:
            self.reporter.note(f"note: {line}")
            if self.team.leads:
                self.metrics.alarm(step, line, found)
