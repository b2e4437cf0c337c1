"""Images of any size and format -> class maps: mask PNGs and overlays for the command, arrays for Python."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from semivl_cli.concepts.load import load_definition, parse_definition
from semivl_cli.concepts.schema import Definition
from semivl_cli.config import RunConfig, parse_toml, resolve
from semivl_cli.data.read.images import read_image
from semivl_cli.data.read.views import at_short_side
from semivl_cli.engine.build import autocast, inference, pick_device, place, short_side
from semivl_cli.engine.infer.reword import steer
from semivl_cli.engine.infer.windows import class_scores, classes_at
from semivl_cli.engine.rundir.checkpoint import load_checkpoint
from semivl_cli.engine.rundir.integrity import checkpoint_steps, first_sound
from semivl_cli.engine.rundir.layout import find_run, read_json, read_status
from semivl_cli.engine.rundir.selected import why_selected
from semivl_cli.errors import InputError, RunError
from semivl_cli.model.semivl import SemiVL
from semivl_cli.paint import is_ours, overlay, save_image, save_mask
from semivl_cli.reporter import Reporter, Silence

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".jp2", ".avif"}
)
"""What counts as an image inside a folder; a file named by the user may have any name."""

_AHEAD = 4


class Segments(Protocol):
    """Whatever turns an image into classes: a trained model, or the frozen CLIP."""

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by id."""

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """Class colours by id."""

    def predict(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Segment one image: uint8 RGB `[H, W, 3]` -> class ids uint8 `[H, W]`."""


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A trained model, ready for images."""

    run: Path
    step: int
    selected: str
    """Which checkpoint this is: `best on val`, `last`."""
    model: SemiVL
    definition: Definition
    config: RunConfig
    smallest: int
    """Smallest side that the decoder can reason over, in pixels."""
    device: torch.device

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by id."""
        return self.definition.names

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """Class colours by id."""
        return self.definition.colors

    @torch.inference_mode()
    def predict(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Segment one image: uint8 RGB `[H, W, 3]` -> class ids uint8 `[H, W]`."""
        size = (image.shape[0], image.shape[1])
        pixels = torch.tensor(at_short_side(image, short_side(self.config))).to(self.device).permute(2, 0, 1)[None]
        how = inference(self.config, self.smallest)
        with autocast(self.config, self.device):
            scores = class_scores(self.model, pixels, how).float()
        ids: NDArray[np.uint8] = classes_at(scores, size)[0].cpu().numpy()
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
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        definition: other words, by which the model is steered: a shipped name or a file; `None`: those of the run.
        reporter: hears what the user should know; `None`: nobody does.

    Raises:
        InputError: there is no such run, its files are damaged, or the words cannot be used with it.
    """
    reporter = reporter or Silence()
    folder = find_run(None if run is None else Path(run))
    steps = checkpoint_steps(folder)
    if not steps:
        raise InputError(f"{folder} has no complete checkpoint yet: let semivl train reach its first one")
    status = read_status(folder)
    best, rule = status.get("best"), status.get("select", "best")
    wanted = [best] if rule != "last" and best in steps else []
    step, broken = first_sound(folder, (*wanted, *reversed(steps)), ["model.safetensors"])
    for other, wrong in broken.items():
        reporter.note(f"checkpoint {other} of {folder} is damaged ({wrong}): taking step {step} instead")
    stored = load_checkpoint(folder, step)
    where = pick_device(device)
    config = resolve(parse_toml(stored.config, str(folder / "run.toml")), source=str(folder / "run.toml"))
    if definition is None:
        words = parse_definition(stored.definition, str(folder / "definition.toml"))
    else:
        words = load_definition(definition)
        trained_on = read_json(folder / "checkpoints" / str(step) / "state.json").get("clip_sha256")
        steer(stored.model, config, words, trained_on, reporter)
    return Predictor(
        run=folder,
        step=step,
        selected=why_selected(rule, step, best),
        model=place(stored.model, where).eval(),
        definition=words,
        config=config,
        smallest=stored.spec.smallest,
        device=where,
    )


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What became of one input."""

    image: Path
    mask: Path | None
    overlay: Path | None
    shares: dict[str, float]
    """Share of the pixels of each class that occurs, 0..1."""
    error: str | None = None


@dataclass(frozen=True)
class Job:
    """One picture to segment."""

    image: Path
    mask: Path
    overlay: Path


def predict_files(
    predictor: Segments, jobs: Sequence[Job], *, overlays: bool, reporter: Reporter
) -> Iterator[Prediction]:
    """Write one palette PNG per picture, of the picture's shown size; a picture that cannot be read costs none else.

    Args:
        predictor: what segments.
        jobs: what to read and where to write it, of `plan_predictions`.
        overlays: whether `<stem>_overlay.jpg` is written beside each mask.
        reporter: hears how far it is.

    Raises:
        RunError: a mask cannot be written.
    """
    reporter.start("predict", len(jobs))
    began = time.monotonic()
    with ThreadPoolExecutor(_AHEAD) as pool:  # pictures are decoded ahead, masks are encoded behind
        reading: deque[tuple[Job, Future[NDArray[np.uint8] | InputError]]] = deque()
        writing: deque[Future[Prediction]] = deque()
        waiting, done = iter(jobs), 0
        while done < len(jobs):
            for job in islice(waiting, _AHEAD - len(reading)):
                reading.append((job, pool.submit(_read, job.image)))
            if reading:
                job, future = reading.popleft()
                image = future.result()
                ids = None if isinstance(image, InputError) else predictor.predict(image)
                writing.append(pool.submit(_write, predictor, job, image, ids, overlays))
            if len(writing) > _AHEAD or not reading:
                yield writing.popleft().result()
                done += 1
                reporter.advance("predict", done, {"images_per_second": done / max(time.monotonic() - began, 1e-9)})
    reporter.finish("predict")


def _read(path: Path) -> NDArray[np.uint8] | InputError:
    try:
        return read_image(path)
    except InputError as error:
        return error


def _write(
    predictor: Segments,
    job: Job,
    image: NDArray[np.uint8] | InputError,
    ids: NDArray[np.uint8] | None,
    overlays: bool,
) -> Prediction:
    if isinstance(image, InputError) or ids is None:
        return Prediction(image=job.image, mask=None, overlay=None, shares={}, error=str(image))
    try:
        job.mask.parent.mkdir(parents=True, exist_ok=True)
        save_mask(job.mask, ids, predictor.colors)
        if overlays:
            save_image(job.overlay, overlay(image, ids, predictor.colors))
    except OSError as error:
        raise RunError(f"cannot write {job.mask}: {error.strerror or error}; the masks before it are kept") from error
    counts = np.bincount(ids.ravel(), minlength=len(predictor.names)) / ids.size
    shares = {name: float(share) for name, share in zip(predictor.names, counts, strict=True) if share > 0}
    return Prediction(image=job.image, mask=job.mask, overlay=job.overlay if overlays else None, shares=shares)


def plan_predictions(inputs: Sequence[Path], out: Path) -> list[Job]:
    """List what to read and where to write it, before any model is loaded.

    Args:
        inputs: files, or folders that are searched to any depth.
        out: folder of the masks, `<out>/<path relative to the input folder>/<stem>.png`; where inputs share a stem,
            the mask's name keeps the suffix.

    Raises:
        InputError: an input does not exist or holds no image, or a mask would overwrite what semivl did not write.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file: expected a folder for the masks")
    found: list[tuple[Path, Path]] = []  # file, path relative to its input folder
    for given in inputs:
        if given.is_dir() and given.resolve() == out.resolve():
            raise InputError(f"--out {out} is the input folder itself: give the masks a folder of their own")
        if given.is_dir():
            inside = sorted(path for path in given.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
            inside = [path for path in inside if out.resolve() not in path.resolve().parents]
            if not inside:
                raise InputError(f"{given} holds no image: expected files such as .jpg, .png, .tif at any depth")
            found += [(path, path.relative_to(given)) for path in inside]
        elif given.exists():
            found.append((given, Path(given.name)))
        else:
            raise InputError(f"{given} does not exist: expected image files or folders of them")
    found = list(dict.fromkeys(found))
    stems = Counter(relative.with_suffix("") for _, relative in found)
    jobs = []
    for path, relative in found:
        name = relative.stem if stems[relative.with_suffix("")] == 1 else relative.name
        folder = out / relative.parent
        jobs.append(Job(path, folder / f"{name}.png", folder / f"{name}_overlay.jpg"))
    if twice := [mask for mask, count in Counter(job.mask for job in jobs).items() if count > 1]:
        raise InputError(f"two inputs would both become {twice[0]}: predict them into different folders")
    for job in jobs:
        if job.mask.exists() and not is_ours(job.mask):
            raise InputError(f"{job.mask} exists and was not written by semivl: it may be a label; give another --out")
    return jobs
