"""The commands of `semivl concepts`, one file a command."""

from __future__ import annotations

import typer

from semivl_cli.cli.concepts.diff import diff
from semivl_cli.cli.concepts.embed import embed
from semivl_cli.cli.concepts.preview import preview
from semivl_cli.cli.concepts.score import score
from semivl_cli.cli.concepts.show import show
from semivl_cli.cli.concepts.validate import validate

app = typer.Typer(
    no_args_is_help=True,
    help="Check, show, compare and try out class definitions (the words of a guideline).",
    epilog="Example: semivl concepts validate my.toml",
)
for command in (validate, show, diff, embed, preview, score):
    app.command()(command)
