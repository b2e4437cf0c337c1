"""Which settings rule the frozen CLIP where there is no run: those of the dataset that a definition belongs to."""

from __future__ import annotations

from pathlib import Path

from semivl_cli.concepts.load import shipped
from semivl_cli.config import RunConfig
from semivl_cli.data.registry import available, find_package_file, open_dataset
from semivl_cli.engine.precedence import configure
from semivl_cli.errors import InputError
from semivl_cli.model.clip_weights import FROM_WEIGHTS, SUFFIXES, describes_itself
from semivl_cli.settings_toml import resolve


def zero_shot_config(
    *, definition: str | None = None, weights: str | None = None, dataset: str | None = None
) -> RunConfig:
    """Settings of a CLIP without a run.

    `definition`: shipped name or file; `None`: the dataset's own. `weights`: as `with_weights` takes them. `dataset`:
    whose recipe rules (weights, zeta, temperature, windows); `None`: `dataset_of` the definition, or none.

    Raises:
        InputError: neither definition nor dataset, or an unknown name.
    """
    if definition is None and dataset is None:
        raise InputError("no words were given: name a class definition (--definition NAME|FILE) or a --dataset")
    own = dataset or dataset_of(definition or "")
    config = configure({"dataset": own}) if own else RunConfig()
    changes = {} if definition is None else {"data": {"definition": definition}}
    return with_weights(resolve(config.model_dump(), changes), weights)


def dataset_of(definition: str) -> str | None:
    """Name the dataset whose own definition this is, by its name or its file; `None` where no usable plugin's is."""
    if definition not in shipped() and not Path(definition).is_file():
        return None
    usable = {name: open_dataset(name) for name, reason in available().items() if reason is None}
    own = {name: str(find_package_file(one, one.definition) or one.definition) for name, one in usable.items()}
    owners = [name for name in own if own[name] == definition]
    return definition if definition in owners else next(iter(owners), None)


def with_weights(config: RunConfig, given: str | None) -> RunConfig:
    """Let the settings name the CLIP that a user gave: `MODEL`, `MODEL:TAG`, `MODEL:FILE` or `FILE`; `None`: as it is.

    A model without a tag means OpenAI's weights; a file that does not say which model it holds is one of the settings'.
    """
    if given is None:
        return config
    model, colon, tag = given.partition(":")
    path, clip = Path(given), config.model.clip
    if not path.is_file() and (colon or path.suffix not in SUFFIXES):
        clip, weights = model, tag if colon else "openai"
    else:
        weights = given
        if describes_itself(path):
            clip = FROM_WEIGHTS
        elif clip == FROM_WEIGHTS:
            clip = "ViT-B-16"
    return resolve(config.model_dump(), {"model": {"clip": clip, "weights": weights}})
