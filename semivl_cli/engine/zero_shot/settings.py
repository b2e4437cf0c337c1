"""Which settings rule the frozen CLIP where there is no run: those of the dataset that a definition belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semivl_cli.concepts.load import shipped
from semivl_cli.config import RunConfig, resolve
from semivl_cli.data.registry import available, find_package_file, open_dataset
from semivl_cli.engine.settings import configure
from semivl_cli.errors import InputError
from semivl_cli.model.clip_weights import FROM_WEIGHTS, describes_itself

DEFAULT_TAG = "openai"


def zero_shot_config(
    *, definition: str | None = None, weights: str | None = None, dataset: str | None = None
) -> RunConfig:
    """Settings of a CLIP without a run.

    Args:
        definition: shipped name or file; `None`: the dataset's own.
        weights: `MODEL[:TAG]` or a file; `None`: those of the recipe.
        dataset: whose recipe rules (weights, zeta, temperature, windows); `None`: `dataset_of` the definition, or none.

    Raises:
        InputError: neither definition nor dataset, or an unknown name.
    """
    if definition is None and dataset is None:
        raise InputError("no words were given: name a class definition (--definition NAME|FILE) or a --dataset")
    own = dataset or dataset_of(definition or "")
    config = with_weights(configure({"dataset": own}) if own else RunConfig(), weights)
    return config if definition is None else resolve(config.model_dump(), {"data": {"definition": definition}})


def with_weights(config: RunConfig, given: str | None) -> RunConfig:
    """Let what `parse_weights` reads name the CLIP; `None`: what the settings name."""
    if given is None:
        return config
    clip, tag = parse_weights(given, config.model.clip)
    return resolve(config.model_dump(), {"model": {"clip": clip, "weights": tag}})


def dataset_of(definition: str) -> str | None:
    """Name the dataset whose own definition this is, by its name or its file; `None` where no usable plugin's is."""
    if definition not in shipped() and not Path(definition).is_file():
        return None
    usable = [name for name, reason in available().items() if reason is None]
    plugins = [open_dataset(name) for name in usable]
    own = {one.name: str(find_package_file(one, one.definition) or one.definition) for one in plugins}
    owners = [name for name in usable if own.get(name) == definition]
    return definition if definition in owners else next(iter(owners), None)


def parse_weights(given: str, clip: str | dict[str, Any]) -> tuple[str | dict[str, Any], str]:
    """Read `MODEL`, `MODEL:TAG`, `MODEL:FILE` or `FILE` as `model.clip` and `model.weights`.

    Args:
        given: what the user wrote; a model without a tag means OpenAI's weights.
        clip: model of a file that does not say itself which it is.
    """
    model, colon, tag = given.partition(":")
    path = Path(given)
    if colon and not path.is_file():
        return model, tag
    if path.is_file() or path.suffix in (".safetensors", ".bin", ".pt", ".pth"):
        if describes_itself(path):
            return FROM_WEIGHTS, given
        return ("ViT-B-16" if clip == FROM_WEIGHTS else clip), given
    return given, DEFAULT_TAG
