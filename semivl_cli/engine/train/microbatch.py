"""Memory: finds the largest micro-batch that fits, and says what helps where nothing does."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch

from semivl_cli.config import LossSettings, RunConfig
from semivl_cli.engine.device_memory import Meter, meter_of
from semivl_cli.engine.distributed.batchnorm import convert_sync_batchnorm
from semivl_cli.engine.distributed.group import ALONE
from semivl_cli.engine.train.accumulate import accumulate_gradients, part_of
from semivl_cli.engine.train.guidance_labels import make_targets
from semivl_cli.engine.train.inputs import Labeled, Unlabeled
from semivl_cli.engine.train.trainee import Training
from semivl_cli.errors import InputError, RunError


class MicroBatch:
    """How many of this process's images are computed at once, and whether activations are computed twice for it."""

    def __init__(self, training: Training) -> None:
        self.config, self.trainee, self.reporter = training.config, training.trainee, training.reporter
        self.process_group = training.process_group
        self.own = len(range(self.config.training.batch)[training.positions])
        """Images of each kind that this process computes in a step."""
        wanted = self.config.training.micro_batch
        self.images = min(wanted, self.own) if isinstance(wanted, int) else self.own
        """Images of each kind at once."""
        self.fitted = wanted != "fit"
        self._recompute(self.config.training.checkpoint_activations is True)
        if self.fitted:
            self._check_normalization()

    @property
    def for_checkpoint(self) -> int:
        """What a checkpoint keeps: images at once where they are not all of this process's, else the batch."""
        return self.images if self.images < self.own else self.config.training.batch

    def restore(self, images: int) -> None:
        """Go on with the micro-batch of a checkpoint, so that sums round as before; a number in the settings rules."""
        smaller = self.process_group.all_reduce_min(self.own - images) > 0
        if smaller and not isinstance(self.config.training.micro_batch, int):
            self.images, self.fitted = images, True

    def shrink(self, error: torch.OutOfMemoryError) -> None:
        """Make a step smaller, which changes nothing but the memory it takes; give up where it cannot shrink."""
        unit = self.config.micro_batch_unit
        half = self.images // 2 // unit * unit
        # Processes that normalise together wait for each other inside the step: none can go back by itself.
        free = self.trainee.model.detail is None or self.process_group.world_size == 1
        if free and not isinstance(self.config.training.micro_batch, int) and half >= unit:
            self.images = half
            change = f"{half} images at once"
        elif free and self.config.training.checkpoint_activations == "auto" and not self.recomputes:
            self._recompute(True)
            change = "activations are computed twice"
        else:
            raise self.refusal() from error
        torch.cuda.empty_cache()
        self.reporter.note(f"memory is short: {change} from here on; the batch stays the same")

    def refusal(self) -> RunError:
        """Say that memory is out, and what would help."""
        helps = advice(self.config, self.images, self.recomputes)
        return RunError(f"out of memory with {self.images} images at once: {helps}")

    def fit(self, x: Labeled, u: Unlabeled | None, lambda_DC: float) -> None:
        """Find the largest micro-batch by steps on some of the images, which leave no trace.

        Raises:
            InputError: memory cannot be measured on this device.
            RunError: not even the smallest fits.
        """
        config, model, optimizer = self.config, self.trainee.model, self.trainee.optimizer

        def attempt(images: int) -> None:
            images = min(images, self.own)
            group = config.loss.group if config.loss.group and images % config.loss.group == 0 else 0
            settings = config.model_copy(update={"loss": LossSettings(group=group)})
            some_x, some_u = part_of(x, slice(images)), part_of(u, slice(images))
            convert_sync_batchnorm(model, ALONE)
            try:
                targets = make_targets(self.trainee.guide, some_x, some_u, settings, images)
                accumulate_gradients(model, some_x, some_u, targets, settings, lambda_DC, images)
            finally:
                optimizer.zero_grad(set_to_none=True)
                convert_sync_batchnorm(model, self.process_group)

        # The first step of the optimizer will make two moments of each parameter.
        moments = 0 if optimizer.state else 2 * sum(p.numel() * p.element_size() for p in self.trainee.parameters)
        meter = meter_of(x.image.device, self.process_group.local_world_size)
        most = -self.process_group.all_reduce_min(-self.own)
        tried = sizes(most, config.micro_batch_unit)  # the same in every process
        statistics = {name: value.clone() for name, value in model.named_buffers()}
        choices = (False, True) if config.training.checkpoint_activations == "auto" else (self.recomputes,)
        for recomputes in choices:
            self._recompute(recomputes)
            fitting, peak, limit = largest_that_fits(
                tried, attempt, meter, reserve=moments, agree=self.process_group.all_reduce_min
            )
            if fitting:
                break
        for name, value in model.named_buffers():
            value.copy_(statistics[name])
        if not fitting:
            raise RunError(
                f"even {tried[0]} image(s) at once do not fit into {_gib(limit)} GiB: "
                f"{advice(config, tried[0], self.recomputes)}"
            )
        self.images, self.fitted = min(fitting, self.own), True
        twice = ", with activations computed twice" if self.recomputes else ""
        self.reporter.note(f"fits: {fitting} images at once take {_gib(peak)} of {_gib(limit)} GiB{twice}")
        self._check_normalization()

    def _recompute(self, wanted: bool) -> None:
        self.recomputes = wanted
        self.trainee.model.checkpoint_activations(wanted)

    def _check_normalization(self) -> None:
        """Say where BatchNorm makes micro-batches matter; processes must then have equally many of them."""
        if self.trainee.model.detail is None:
            return
        number, batch, processes = -(-self.own // self.images), self.config.training.batch, self.process_group
        if processes.all_reduce_min(number) != -processes.all_reduce_min(-number):
            raise InputError(
                f"model.detail normalises over the images of all {processes.world_size} processes, which then need "
                f"equally many parts: training.batch = {batch} does not give them; take one that divides by the "
                "processes"
            )
        if number > 1:
            self.reporter.note(
                f"BatchNorm of model.detail sees {self.images * processes.world_size} of the {batch} images at a "
                "time: with it, and it alone, parts are not the whole batch"
            )


def sizes(most: int, unit: int) -> list[int]:
    """Micro-batches worth trying for `most` images, in whole units: doubling, and at last everything at once."""
    doubled = (unit * 2**k for k in itertools.count())
    return [*itertools.takewhile(lambda size: size < most, doubled), most]


def largest_that_fits(
    tried: Sequence[int],
    step: Callable[[int], None],
    meter: Meter,
    *,
    reserve: int = 0,
    agree: Callable[[int], int] = int,
) -> tuple[int, int, int]:
    """Try steps with more and more images while the next one can be expected to fit.

    Memory grows in proportion to the images, so that the largest is found without running out: which the CPU would
    not survive, and a GPU would remember by its fragments.

    Args:
        tried: numbers of images, ascending.
        step: computes a step with so many.
        meter: of the device.
        reserve: bytes that a training will need besides, and a trial does not.
        agree: what all processes make of a 0 (does not fit) or 1 of this one.

    Returns:
        The largest number that fits, 0 where none does; the bytes it takes at most, and the bytes there are.
    """
    most, peak_of_most, limit = 0, 0, meter.limit()
    before, expected = meter.start(), 0
    for images in tried:
        fits = expected + reserve <= limit
        if fits:
            meter.start()
            try:
                step(images)
            except torch.OutOfMemoryError:
                fits = False
            peak = meter.peak() + reserve
            fits = fits and peak <= limit
        if not agree(int(fits)):
            break
        most, peak_of_most = images, peak
        following = next((size for size in tried if size > images), images)
        expected = before + (peak - reserve - before) * following // images
    return most, peak_of_most, limit


def advice(config: RunConfig, micro_batch: int, recomputes: bool) -> str:
    """Name the settings that would make a step smaller, each with what it was measured to do.

    The shares are those of the bytes that a step keeps for its gradient (docs/performance.md: ViT-B/16, 512 pixels, 21
    classes, counted by tests/bench/bench_memory.py).
    """
    unit = config.micro_batch_unit
    ideas = []
    if micro_batch > unit:
        ideas.append(f"training.micro_batch={unit} (memory to {100 * unit / micro_batch:.0f} %, the same numbers)")
    if not recomputes:
        ideas.append("training.checkpoint_activations=true (to 18 %, the same numbers, slower)")
    if config.training.precision == "fp32":
        ideas.append("training.precision=bf16 (to 56 %)")
    crop = config.data.crop * 3 // 4
    ideas.append(f"data.crop={crop} (to 56 %, another training)")
    return "try --set " + ", or ".join(ideas)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f}"
