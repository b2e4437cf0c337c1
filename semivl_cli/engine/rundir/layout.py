"""The run directory: which one, whose it is, and the small files in it that people and tools read."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from semivl_cli.config import RunConfig
from semivl_cli.errors import InputError
from semivl_cli.files import locked
from semivl_cli.run_files import Scores, Status, Summary, read
from semivl_cli.settings_toml import read_settings, resolve

RUNS = Path("runs")
"""Where new runs go, below the working directory."""

SETTINGS = "run.toml"
DEFINITION = "definition.toml"
SPLIT = "split.json"
METRICS = "metrics.jsonl"
SCORES = "scores.json"
STATUS = "run.json"
CHECKPOINTS = "checkpoints"
EXAMPLES = "examples"
NOT_FINITE = "not-finite"
LOCK = ".lock"
SUMMARY = "seeds.json"
"""Makes a directory one of several runs: it holds their seeds from the start, and in the end what they reached."""
RECIPE = "recipe.toml"
"""The settings of several runs, beside `SUMMARY`."""

Found = Literal["train", "eval", "end"]
"""Where something was noticed: up to a step, in the evaluation after it, or when all was done."""


def new_run(dataset: str, labeled: int | str) -> Path:
    """Make a directory for a new run, `runs/<dataset>-<labelled images>-<n>` with the first free n."""
    n = 1
    while True:
        run = RUNS / f"{dataset}-{labeled}-{n}"
        try:
            run.mkdir(parents=True)
        except FileExistsError:
            n += 1
        except OSError as error:
            raise InputError(f"cannot make the run directory {run} ({error.strerror}): give --out") from error
        else:
            return run


def check_free(run: Path) -> None:
    """Refuse a directory that holds a run, or anything else but what a start of one left that was killed."""
    if (run / SETTINGS).exists():
        raise InputError(f"{run} already holds a run: go on with --resume, or give another --out")
    if run.is_dir() and not is_left_over(run):
        raise InputError(f"{run} holds other files: a run wants a directory of its own, give another --out")


def is_left_over(run: Path) -> bool:
    """Whether a directory holds nothing but what a start leaves that is killed before `run.toml` is there."""
    names = {path.name for path in run.iterdir() if path.suffix not in (".part", ".tmp")}
    return names <= {LOCK} or (LOCK in names and names <= {LOCK, DEFINITION, SPLIT})  # without a lock: somebody's own


def find_run(path: Path | None) -> Path:
    """Return the given run, else the newest one below `runs/` with a checkpoint; raises `InputError` without one."""
    if path is not None:
        try:
            found = (path / SETTINGS).is_file()
        except OSError as error:  # of a name longer than any, or a folder that is closed
            raise InputError(f"{str(path)[:200]!r} is not a run directory ({error.strerror})") from error
        if not found:
            raise InputError(f"{path} is not a run directory: it has no {SETTINGS}; expected what semivl train wrote")
        return path
    runs = [found for found in _runs() if any((found / CHECKPOINTS).glob("[0-9]*"))]
    if not runs:
        raise InputError(f"there is no run with a checkpoint in {RUNS}/: train one with semivl train, or name it")
    return runs[-1]


def find_unfinished() -> Path:
    """Return the newest unfinished run in `runs/`, or folder of several with one; raises `InputError` where none is."""
    unfinished = [found for found in _runs() if not is_finished(found)]
    unfinished = [run.parent if (run.parent / SUMMARY).is_file() else run for run in unfinished]
    summaries = ((path.parent, read(path, Summary)) for path in RUNS.glob(f"*/{SUMMARY}"))
    unfinished += [folder for folder, summary in summaries if summary is not None and summary.runs is None]
    if not unfinished:
        raise InputError(f"there is no unfinished run in {RUNS}/: name one with --out, or start anew without --resume")
    return sorted(unfinished, key=_touched)[-1]


def _runs() -> list[Path]:
    """All runs below `runs/`, the last written last."""
    found = [*RUNS.glob(f"*/{SETTINGS}"), *RUNS.glob(f"*/seed-*/{SETTINGS}")]
    return sorted((path.parent for path in found), key=lambda run: (_touched(run), run.name))


def _touched(run: Path) -> float:
    files = (folder / name for folder in (run, *run.glob("seed-*")) for name in (SETTINGS, STATUS, METRICS, SUMMARY))
    return max(file.stat().st_mtime for file in files if file.is_file())


def lock_run(run: Path) -> AbstractContextManager[None]:
    """Hold the run; the lock dies with its process. Raises `InputError` where another process holds it."""
    return locked(
        run / LOCK,
        busy=f"{run} is in use by another process: wait for it, or give another --out",
        refused=lambda error: f"cannot write the run directory {run} ({error.strerror}): give another --out",
    )


def checkpoint_folder(run: Path, step: int) -> Path:
    """Return the folder of the checkpoint after `step` steps."""
    return run / CHECKPOINTS / str(step)


def read_config(run: Path) -> RunConfig:
    """Read the settings of a run."""
    return resolve(read_settings(run / SETTINGS)[0], source=str(run / SETTINGS))


def is_finished(run: Path) -> bool:
    """Whether nothing is left to do; what a damaged file says is not believed."""
    try:
        status, scores = read(run / STATUS, Status), read(run / SCORES, Scores)
    except InputError:
        return False
    return status is not None and status.finished and scores is not None and None not in (scores.last, scores.best)
