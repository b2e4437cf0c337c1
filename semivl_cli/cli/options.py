"""Options that several commands share, and how flags become settings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer


def definition_named(name: str | None) -> str | None:
    """Return the file that a plugin brings as its definition, where the plugin's name was given for it.

    So a stranger's definition is called as the shipped ones are. Every other word is returned as it is.
    """
    from semivl_cli.concepts.load import shipped  # noqa: PLC0415 - `semivl --help` must stay instant
    from semivl_cli.data.registry import open_dataset, own_definition, registered  # noqa: PLC0415 - likewise

    if name is None or name in shipped() or Path(name).is_file() or name not in registered():
        return name
    return own_definition(open_dataset(name)) or name


Root = Annotated[
    Path | None, typer.Option(help="Folder of the dataset. (default: $SEMIVL_DATA/<dataset>, else data/<dataset>)")
]
DefinitionOption = Annotated[
    str | None,
    typer.Option(
        help="Class definition: a shipped name, a plugin's name or a TOML file.",
        metavar="NAME|FILE",
        callback=definition_named,
    ),
]
DefinitionArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A .toml file, or the name of a shipped definition or of a plugin.",
        callback=definition_named,
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="MODEL[:TAG]|FILE",
        help="CLIP: an open_clip model or a file. (default: that of the dataset's recipe, else ViT-B-16:openai)",
    ),
]
RecipeOfOption = Annotated[
    str | None,
    typer.Option(
        "--dataset", help="Dataset whose recipe rules. (default: the one that the definition belongs to, if any)"
    ),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps. (default: auto)")]
Gpus = Annotated[
    int | None, typer.Option(min=1, help="Processes, one a GPU (with --device cpu: on the cores). (default: 1)")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a line and picture.")]
Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGES...", help="Image files, folders of them, or patterns.", readable=False)
]
Labels = Annotated[
    str | None,
    typer.Option(help="Labelled images: a count, a fraction, a file, all. (default: the recipe's)", metavar="N"),
]


_CALLED_ELSEWHERE = {
    "batch_size": "batch",
    "crop_size": "crop",
    "image_size": "crop",
    "img_size": "crop",
    "imgsz": "crop",
    "iterations": "steps",
    "iters": "steps",
    "learning_rate": "lr",
    "max_iters": "steps",
    "max_steps": "steps",
    "num_epochs": "epochs",
    "num_steps": "steps",
    "num_workers": "workers",
    "checkpoint": "--run",
    "ckpt": "--run",
    "cfg": "--recipe",
    "classes": "--definition",
    "config": "--recipe",
    "data": "--root",
    "data_dir": "--root",
    "data_root": "--root",
    "gpu": "--gpus N for several, --device cuda:N for a certain one",
    "output": "--out",
    "output_dir": "--out",
    "save_dir": "--out",
    "work_dir": "--out",
}
"""What other tools call a setting, by the last part of its name here, or an option."""


def remedy(option: str, known: Sequence[str]) -> str | None:
    """Say how a command takes what was given as an option that it does not have; `None` where nothing is like it.

    `known`: the options of the command.
    """
    from semivl_cli.settings_toml import known_settings  # noqa: PLC0415 - `semivl --help` must stay instant

    given = option.lstrip("-").replace("-", "_")
    name = _CALLED_ELSEWHERE.get(given, given)
    if name.startswith("--"):
        return f"here it is {name}" if name.split()[0] in known else None
    settings = [setting for setting in known_settings() if setting.rpartition(".")[2] == name]
    if not settings or "--set" not in known:
        return None
    return f"it is a setting: {' or '.join(f'--set {setting}=VALUE' for setting in settings[:3])}"


def settings_of(flags: dict[str, Any]) -> dict[str, Any]:
    """Nest the flags that were given under the names of the settings; paths become absolute, so that a run can move."""
    settings: dict[str, Any] = {}
    for name, value in flags.items():
        if value is None or value == []:
            continue
        given: Any = value
        # A folder that is called like a shipped definition or recipe (its data, say) is not what was meant.
        if name in ("data.root", "model.init") or (name in ("recipe", "data.definition") and Path(value).is_file()):
            given = str(Path(value).resolve()) if Path(value).exists() else str(value)
        elif name == "data.unlabeled":  # patterns too, which no file is called
            given = [os.path.abspath(path) for path in value]  # noqa: PTH100 - a Path would follow links
        section, _, key = name.rpartition(".")
        (settings.setdefault(section, {}) if section else settings)[key] = given
    return settings
