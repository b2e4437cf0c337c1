"""From names, files and flags to a checked RunConfig: the order in which settings overrule each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from semivl_cli.config import (
    Layer,
    RunConfig,
    merge,
    none_if_so_called,
    parse_assignments,
    parse_toml,
    read_settings,
    read_toml,
    resolve,
)
from semivl_cli.data.contract import Dataset
from semivl_cli.data.registry import open_dataset, package_file
from semivl_cli.errors import InputError


def configure(flags: Mapping[str, Any], assignments: Iterable[str] = ()) -> RunConfig:
    """Layer all settings and check them.

    Weakest first: defaults, the dataset's recipe, the fidelity preset, the recipe's own table for that fidelity, the
    method preset, the recipe file, flags, assignments. The names of dataset, method, recipe and fidelity are
    themselves settings, found first by the same order.

    Args:
        flags: what the user gave on the command line, nested like the settings.
        assignments: `a.b=value` each.

    Raises:
        InputError: an unknown name or setting, a value that does not fit.
    """
    top = merge(flags, parse_assignments(assignments))
    chosen = merge(_recipe(top), top)
    return _layered(open_dataset(str(chosen.get("dataset", RunConfig().dataset))), top)


def configure_dataset(dataset: Dataset) -> RunConfig:
    """Return the settings of a dataset without any flag, whether it is installed or not.

    Raises:
        InputError: its recipe is not there, or holds a setting that does not fit.
    """
    return _layered(dataset, {})


def _layered(dataset: Dataset, top: Layer) -> RunConfig:
    own, recipe = dataset_recipe(dataset), _recipe(top)
    names = merge({"fidelity": "paper", "method": "semivl"}, own, recipe, top)
    fidelity, method = str(names["fidelity"]), str(names["method"])
    config = resolve(
        _without_tables(own),
        _preset("fidelity", fidelity),
        _table(own, fidelity),
        _preset("method", method),
        _without_tables(recipe),
        _table(recipe, fidelity),
        {"dataset": dataset.name, "fidelity": fidelity, "method": method, "recipe": top.get("recipe")},
        top,
    )
    _check_kinds(config)
    return config


def _check_kinds(config: RunConfig) -> None:
    """Refuse a decoder or a fine-tuning that there is not, before anything slow begins."""
    usual = RunConfig()
    if (config.decoder.kind, config.finetune.encoder) == (usual.decoder.kind, usual.finetune.encoder):
        return  # the commands that need no model stay instant: the room of the model imports torch
    from semivl_cli.config import pick  # noqa: PLC0415
    from semivl_cli.model.build import DECODERS  # noqa: PLC0415
    from semivl_cli.model.finetune import FINE_TUNING  # noqa: PLC0415

    pick(DECODERS, "decoder.kind", config.decoder.kind)
    pick(FINE_TUNING, "finetune.encoder", config.finetune.encoder)


def _recipe(top: Layer) -> Layer:
    name = none_if_so_called(top.get("recipe"))
    return {} if name is None else _named_recipe(str(name))


def dataset_recipe(dataset: Dataset) -> Layer:
    """Read the recipe that a dataset names: a shipped one, or a file inside its package."""
    if dataset.recipe.endswith(".toml"):
        return read_toml(package_file(dataset, dataset.recipe))
    return _named_recipe(dataset.recipe)


def shipped_recipes() -> list[str]:
    """Names of the general recipes."""
    return list(_shipped())


def _named_recipe(name: str) -> Layer:
    if name.endswith(".toml"):
        return read_settings(Path(name))[0]
    shipped = _shipped()
    if name not in shipped:
        raise InputError(f"unknown recipe {name!r}: shipped are {', '.join(shipped)}; or give a .toml file")
    return parse_toml(shipped[name], name)


def _preset(kind: str, name: str) -> Layer:
    known = _shipped(kind)
    if name not in known:
        raise InputError(f"unknown {kind} {name!r}: expected {' or '.join(known)}")
    return parse_toml(known[name], name)


def _shipped(kind: str = "") -> dict[str, str]:
    """Return the texts of the general recipes, or of the presets of a kind, by their names."""
    found = files("semivl_cli.recipes").joinpath(kind).iterdir()
    texts = {item.name: item.read_text(encoding="utf-8") for item in found if item.name.endswith(".toml")}
    return {name.removesuffix(".toml"): texts[name] for name in sorted(texts)}


def _without_tables(recipe: Layer) -> Layer:
    return {key: value for key, value in recipe.items() if key not in ("paper", "published")}


def _table(recipe: Layer, fidelity: str) -> Layer:
    """Settings that a recipe has for one fidelity alone."""
    table = recipe.get(fidelity, {})
    if not isinstance(table, dict):
        raise InputError("the tables [paper] and [published] of a recipe hold settings, such as loss.group = 2")
    return table
