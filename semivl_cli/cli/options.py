"""Options that several commands share, and how flags become settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Root = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the dataset. (default: $SEMIVL_DATA/<dataset>, else data/<dataset>)", show_default=False
    ),
]
DefinitionOption = Annotated[
    str | None, typer.Option(help="Class definition: a shipped name or a TOML file.", metavar="NAME|FILE")
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="MODEL[:TAG]|FILE",
        help="CLIP: an open_clip model or a file. (default: that of the dataset's recipe, else ViT-B-16:openai)",
        show_default=False,
    ),
]
RecipeOfOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="Dataset whose recipe rules. (default: the one that the definition belongs to, if any)",
        show_default=False,
    ),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N. (default: auto)", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def settings_of(flags: dict[str, Any]) -> dict[str, Any]:
    """Nest the flags that were given under the names of the settings; paths become absolute, so that a run can move."""
    settings: dict[str, Any] = {}
    for name, value in flags.items():
        if value is None:
            continue
        given = value
        # A folder that is called like a shipped definition or recipe (its data, say) is not what was meant.
        if name == "data.root" or (name in ("recipe", "data.definition") and Path(value).is_file()):
            given = str(Path(value).resolve()) if Path(value).exists() else str(value)
        elif isinstance(value, Path):
            given = str(value)
        section, _, key = name.rpartition(".")
        (settings.setdefault(section, {}) if section else settings)[key] = given
    return settings
