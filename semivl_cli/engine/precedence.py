"""From names, files and flags to a checked RunConfig: the order in which settings overrule each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from semivl_cli.config import RunConfig, none_if_so_called
from semivl_cli.data.contract import Dataset
from semivl_cli.data.registry import OWN_FILE, open_dataset, package_file
from semivl_cli.errors import InputError
from semivl_cli.settings_toml import Layer, merge, parse_assignments, parse_toml, read_settings, resolve, unknown


def configure(
    flags: Mapping[str, Any], assignments: Iterable[str] = (), say: Callable[[str], None] = lambda _: None
) -> RunConfig:
    """Layer all settings and check them.

    Weakest first: defaults, the dataset's recipe, the fidelity preset, the recipe's own table for that fidelity, the
    method preset, the recipe file, flags, assignments. The names of dataset, method, recipe and fidelity are
    themselves settings, found first by the same order. `flags` are nested like the settings, `assignments` are
    `a.b=value` each. A run that `model.init` names gives all that is not given; where dataset, recipe, method or
    fidelity are, only what makes up its model, and where the dataset lies if it is the same. A root without a dataset
    is a folder, which `say` is told: the scenes of the default lie nowhere.

    Raises:
        InputError: an unknown name or setting, a value that does not fit.
    """
    top = merge(flags, parse_assignments(assignments))
    given = merge(_given_recipe(top), top)
    origin = _settings_of_origin(given)
    root, usual = _value(given, "data", "root"), origin.get("dataset", RunConfig().dataset)
    if "dataset" not in given and root is not None and usual == RunConfig().dataset:
        say(f"dataset folder: {root} was named without --dataset")
        usual = "folder"
    dataset = str(given.get("dataset", usual))
    if origin and (dataset != origin["dataset"] or {"recipe", "method", "fidelity"} & given.keys()):
        place = {"data": {"root": origin["data"]["root"]}} if dataset == origin["dataset"] else {}
        origin = {"model": origin["model"], "decoder": origin["decoder"], **place}
    return configure_dataset(open_dataset(dataset), top, origin)


def configure_dataset(dataset: Dataset, top: Layer, origin: Layer | None = None) -> RunConfig:
    """Layer and check all settings as `configure` does, of a dataset installed or not.

    `top`: what was given; `origin`: of the run that this one begins with, weaker than what was given.
    """
    own, given = _recipe(dataset.recipe, partial(package_file, dataset)), merge(origin or {}, _given_recipe(top))
    names = merge({"fidelity": "paper", "method": "semivl"}, own, given, top)
    fidelity, method = str(names["fidelity"]), str(names["method"])
    (own, own_table), (given, given_table) = _split(own, fidelity), _split(given, fidelity)
    chosen = {"dataset": dataset.name, "fidelity": fidelity, "method": method, "recipe": top.get("recipe")}
    preset, method_preset = _preset("fidelity", fidelity), _preset("method", method)
    given, given_table, top = map(with_length, (given, given_table, top))
    settings = merge(own, preset, own_table, method_preset, given, given_table, chosen, top)
    return resolve(settings, also=_unknown_kinds(settings))


def _value(given: Layer, section: str, key: str) -> Any:  # noqa: ANN401 - whatever was given
    table = given.get(section)
    return none_if_so_called(table.get(key)) if isinstance(table, dict) else None


def _settings_of_origin(given: Layer) -> Layer:
    """Return all settings of the run with whose weights this one begins; where it is computed is not its own matter."""
    run = _value(given, "model", "init")
    if run is None:
        return {}
    path = Path(str(run)) / "run.toml"
    if not path.is_file():
        raise InputError(f"model.init = {str(run)!r}: expected the directory of a run, with its run.toml")
    settings = resolve(read_settings(path)[0], source=str(path))
    layer, weights = settings.model_dump(), settings.model.weights
    if weights.startswith(OWN_FILE):  # which another dataset would look for in its own plugin
        layer["model"]["weights"] = str(package_file(open_dataset(settings.dataset), weights.removeprefix(OWN_FILE)))
    del layer["device"], layer["recipe"]
    return layer


def with_length(layer: Layer) -> Layer:
    """Let a length in epochs rule over one in steps that a weaker layer gives: by themselves steps are stronger."""
    training = layer.get("training")
    if not isinstance(training, dict):
        return layer
    pairs = {"epochs": "steps", "evaluate_every": "evaluate_steps"}.items()
    overruled = {steps: None for epochs, steps in pairs if none_if_so_called(training.get(epochs)) is not None}
    return merge({"training": overruled}, layer)


def _unknown_kinds(settings: Layer) -> list[str]:
    """Say which decoder or fine-tuning there is not, before anything slow begins."""
    usual = RunConfig()
    kinds = [
        section.get(key, default) if isinstance(section := settings.get(name, {}), dict) else default
        for name, key, default in (
            ("decoder", "kind", usual.decoder.kind),
            ("finetune", "encoder", usual.finetune.encoder),
        )
    ]
    if kinds == [usual.decoder.kind, usual.finetune.encoder]:
        return []  # the commands that need no model stay instant: the room of the model imports torch
    from semivl_cli.model.build import DECODERS  # noqa: PLC0415
    from semivl_cli.model.finetune import FINE_TUNING  # noqa: PLC0415

    mistakes = (unknown(DECODERS, "decoder.kind", kinds[0]), unknown(FINE_TUNING, "finetune.encoder", kinds[1]))
    return [mistake for mistake in mistakes if mistake is not None]


def _given_recipe(top: Layer) -> Layer:
    """Read the recipe that the user names, if any."""
    name = none_if_so_called(top.get("recipe"))
    return {} if name is None else _recipe(str(name), Path)


def _recipe(name: str, find_file: Callable[[str], Path]) -> Layer:
    """Read a shipped recipe, or a file."""
    if name.endswith(".toml"):
        return read_settings(find_file(name))[0]
    shipped = shipped_recipes()
    if name not in shipped:
        raise InputError(f"unknown recipe {name!r}: shipped are {', '.join(shipped)}; or give a .toml file")
    return parse_toml(shipped[name], name)


def _preset(kind: str, name: str) -> Layer:
    known = shipped_recipes(kind)
    if name not in known:
        raise InputError(f"unknown {kind} {name!r}: expected {' or '.join(known)}")
    return parse_toml(known[name], name)


def shipped_recipes(kind: str = "") -> dict[str, str]:
    """Return the texts of the general recipes, or of the presets of a kind (`method`, `fidelity`), by their names."""
    found = files("semivl_cli.recipes").joinpath(kind).iterdir()
    texts = {item.name: item.read_text(encoding="utf-8") for item in found if item.name.endswith(".toml")}
    return {name.removesuffix(".toml"): texts[name] for name in sorted(texts)}


def _split(recipe: Layer, fidelity: str) -> tuple[Layer, Layer]:
    """Return the settings of a recipe, and those that it has for one fidelity alone, in a table of that name."""
    table = recipe.get(fidelity, {})
    if not isinstance(table, dict):
        raise InputError("the tables [paper] and [published] of a recipe hold settings, such as loss.group = 2")
    return {key: value for key, value in recipe.items() if key not in ("paper", "published")}, table
