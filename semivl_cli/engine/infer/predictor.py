"""A run -> its trained model, ready for images: what `from semivl_cli import load` gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from semivl_cli.concepts.load import load_definition, parse_definition
from semivl_cli.concepts.schema import Definition
from semivl_cli.config import RunConfig
from semivl_cli.documents import read_json
from semivl_cli.engine.device import autocast, pick_device, to_device
from semivl_cli.engine.infer.reword import reword
from semivl_cli.engine.infer.segmenter import Segmenter
from semivl_cli.engine.infer.windows import Inference, class_scores, classes_at
from semivl_cli.engine.rundir.checkpoint import MODEL, STATE, Stored, checkpoint_steps, first_sound, load_checkpoint
from semivl_cli.engine.rundir.layout import DEFINITION, SETTINGS, STATUS, checkpoint_folder, find_run
from semivl_cli.errors import InputError
from semivl_cli.model.semivl import SemiVL
from semivl_cli.reporter import Reporter, Silence
from semivl_cli.run_files import Progress, Status, read
from semivl_cli.settings_toml import parse_toml, resolve


@dataclass(frozen=True, kw_only=True)
class Predictor(Segmenter):
    """A trained model, ready for images."""

    run: Path
    step: int
    selected: str
    """Which checkpoint this is: `best on val`, `last`."""
    model: SemiVL
    how: Inference
    """How it segments images, as in its training's evaluations."""

    @torch.inference_mode()
    def classes_of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Segment uint8 RGB `[H, W, 3]` -> class ids uint8 `[H, W]`."""
        with autocast(self.config, self.device):
            scores = class_scores(self.model, self.how.pixels(pixels, self.device), self.how).float()
        ids: NDArray[np.uint8] = classes_at(scores, (pixels.shape[0], pixels.shape[1]))[0].cpu().numpy()
        return ids


def load(
    run: str | Path | None = None,
    device: str = "auto",
    definition: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Predictor:
    """Load the model of a run: the step that its `training.select` picks, else its last.

    Args:
        run: the run's directory; `None`: the newest one below `runs/`.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`.
        definition: other words, which the model takes instead: a shipped name or a file; `None`: those of the run.
        reporter: hears what the user should know; `None`: nobody does.

    Raises:
        InputError: there is no such run, its files are damaged, or the words cannot be used with it.
    """
    reporter = reporter or Silence()
    folder = find_run(None if run is None else Path(run))
    steps = checkpoint_steps(folder)
    if not steps:
        raise InputError(f"{folder} has no complete checkpoint yet: let semivl train reach its first one")
    status = read(folder / STATUS, Status) or Status()
    best, rule = status.best, status.select
    wanted = [best] if best is not None and rule != "last" and best in steps else []
    step, broken = first_sound(folder, (*wanted, *reversed(steps)), [MODEL])
    for other, wrong in broken.items():
        reporter.note(f"checkpoint {other} of {folder} is damaged ({wrong}): taking step {step} instead")
    stored = load_checkpoint(folder, step)
    where = pick_device(device)
    config, words = _settings_and_words(stored, checkpoint_folder(folder, step) / MODEL)
    if definition is not None:
        words = load_definition(definition, config.fidelity)
        trained_on = read_json(checkpoint_folder(folder, step) / STATE, Progress).clip_sha256
        reword(stored.model, config, words, trained_on, reporter)
    return Predictor(
        run=folder,
        step=step,
        selected=described(rule, step, best),
        model=to_device(stored.model, where).eval(),
        definition=words,
        config=config,
        how=Inference(config, stored.spec.smallest),
        device=where,
    )


def _settings_and_words(stored: Stored, path: Path) -> tuple[RunConfig, Definition]:
    """Return the settings and the definition that a checkpoint holds; `path`: its file, for the message."""
    try:
        config = resolve(parse_toml(stored.config, SETTINGS), source=SETTINGS)
        words = parse_definition(stored.definition, DEFINITION, config.fidelity)
        if len(words.classes) != len(stored.model.text):
            raise InputError(f"{len(words.classes)} classes for a model of {len(stored.model.text)}")
    except InputError as error:
        raise InputError(
            f"checkpoint {path} holds settings or words that cannot be read ({error}): put back a copy of it, or "
            f"delete the folder {path.parent} to take the checkpoint before it"
        ) from error
    return config, words


def described(rule: str, step: int, best: int | None) -> str:
    """Say in words why a checkpoint is taken: `last`, `best on val`, `best on held-out labels`."""
    if rule == "last" or step != best:
        return "last"
    return "best on held-out labels" if rule == "held-out" else "best on val"
