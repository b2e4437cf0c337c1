"""`semivl concepts diff`: what changed in meaning between two definitions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from semivl_cli.cli.console import print_json
from semivl_cli.cli.options import Json, definition_named
from semivl_cli.concepts.diff import diff as changes_between
from semivl_cli.concepts.load import load_definition


def diff(
    old: Annotated[
        str, typer.Argument(metavar="A", help="The definition before: a file or a name.", callback=definition_named)
    ],
    new: Annotated[
        str, typer.Argument(metavar="B", help="The definition after: a file or a name.", callback=definition_named)
    ],
    as_json: Json = False,
) -> None:
    """Tell what changed in meaning from A to B: classes, concepts that moved, colours, ids.

    Example: semivl concepts diff voc my-voc.toml
    """
    changes = changes_between(load_definition(old), load_definition(new))
    if as_json:
        print_json([asdict(change) | {"sentence": change.sentence} for change in changes])
    else:
        typer.echo("\n".join(change.sentence for change in changes) or "nothing changed in meaning")
