"""`metrics.jsonl`: what a run tells of its steps, evaluations and alarms, a line each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semivl_cli.documents import read_bytes
from semivl_cli.engine.rundir.layout import METRICS, Found
from semivl_cli.errors import InputError
from semivl_cli.files import append_line, sync, write_text, writing
from semivl_cli.run_files import read_line


class Metrics:
    """`metrics.jsonl`: one object a line, appended; what lies beyond the state resumed from is dropped.

    Kinds of lines: `train` (means over some steps), `eval` (scores), `alarm` (something noticed, in words).
    """

    def __init__(self, run: Path, step: int, *, evaluated: bool = False) -> None:
        """Keep the lines up to `step`, and its evaluation only if that is part of the state."""
        self.path = run / METRICS
        text = read_bytes(self.path).decode("utf-8", "replace") if self.path.is_file() else ""
        told = [line for line in text.splitlines() if _moment(line) <= (step, int(evaluated))]
        write_text(self.path, "".join(f"{line}\n" for line in told))

    def write(self, step: int, kind: str, values: Mapping[str, Any]) -> None:
        """Append one line."""
        append_line(self.path, json.dumps({"step": step, "kind": kind, **values}))

    def alarm(self, step: int, line: str, found: Found) -> None:
        """Append what was noticed, for whoever was not there to read it."""
        self.write(step, "alarm", {"found": found, "says": line})

    def sync(self) -> None:
        """Wait until the disk holds all lines: a checkpoint counts on those before it."""
        with writing(self.path):
            sync(self.path)


def _moment(line: str) -> tuple[float, int]:
    """When a line was written: its step, and whether it belongs to what follows it: evaluation, end."""
    try:
        values = read_line(line, METRICS)
    except InputError:  # the process died while it wrote the line
        return float("inf"), 0
    return values.step, {"eval": 1, "end": 2}.get(values.found or values.kind, 0)
