"""The commands of `semivl prepare`, one file a command."""

from __future__ import annotations

import typer

from semivl_cli.cli.prepare.checkpoint import checkpoint
from semivl_cli.cli.prepare.data import data
from semivl_cli.cli.prepare.weights import weights

app = typer.Typer(
    no_args_is_help=True,
    help="Look at data, fetch weights, import checkpoints: whatever a training will need.",
    epilog="Example: semivl prepare data folder --root my/ --definition my.toml",
)
for command in (data, checkpoint, weights):
    app.command()(command)
