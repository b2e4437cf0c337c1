"""RunConfig -> dataset, words, CLIP, guidance: the one place that introduces the rooms to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from semivl_cli.concepts.load import definition_text, parse_definition
from semivl_cli.concepts.schema import Definition
from semivl_cli.config import RunConfig
from semivl_cli.data.choose.held_out import hold_out
from semivl_cli.data.choose.index import Index, build_index, find_root
from semivl_cli.data.contract import Dataset, Record
from semivl_cli.data.read.images import value_range_of
from semivl_cli.data.registry import OWN_FILE, open_dataset, own_definition, package_file
from semivl_cli.engine.rundir.layout import DEFINITION, SPLIT
from semivl_cli.engine.text_vectors import embed_classes, embed_concepts
from semivl_cli.errors import InputError
from semivl_cli.model.build import encoder_spec
from semivl_cli.model.clip import Clip, build_encoder, load_clip
from semivl_cli.model.clip_weights import RANDOM
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.pixels import IMAGENET_STATISTICS, Statistics
from semivl_cli.reporter import Reporter
from semivl_cli.run_files import Split, read_split
from semivl_cli.settings_toml import resolve


@dataclass(frozen=True, kw_only=True)
class Material:
    """Dataset and words of a run."""

    dataset: Dataset
    root: Path
    definition: Definition
    definition_text: str
    index: Index


@dataclass(frozen=True, kw_only=True)
class Inherited:
    """What a training takes from a run that was there before: its own when it is resumed, another's to repeat it."""

    run: Path
    words: bool = True
    """Whether its `definition.toml` is taken; otherwise the settings name the definition."""
    labels: bool = True
    """Whether the labelled images of its `split.json` are taken; otherwise the settings say which."""
    images: bool = False
    """Whether no other images than those of its `split.json` are taken, as where it goes on."""


def open_material(
    config: RunConfig, inherited: Inherited | None = None, say: Callable[[str], None] = lambda _: None
) -> Material:
    """Open the dataset and the definition, and list the records; `say` takes a line when something takes long.

    Raises:
        InputError: data or definition do not fit, or a file of the run is damaged.
    """
    dataset = open_dataset(config.dataset)
    if inherited is None or not inherited.words:
        text, source = read_definition(config, dataset)
    else:
        text, source = definition_text(inherited.run / DEFINITION), str(inherited.run / DEFINITION)
    definition = parse_definition(text, source, config.fidelity)
    if len(definition.classes) < 2:
        raise InputError(f"{source} has {len(definition.classes)} class: segmentation tells at least two apart")
    root = find_root(dataset.name, config.data.root)
    listed, split = None, None
    if inherited is not None and inherited.labels:
        split = read_split(inherited.run)
        # What was left out because files were missing stands in no list: the settings choose, and leave out, again.
        if split is not None and config.data.missing == "refuse":
            listed = [*split.labeled, *split.held_out], str(inherited.run / SPLIT)
    if inherited is None or not inherited.images:
        split = None
    names = definition.names
    index = build_index(
        dataset,
        root,
        config.data,
        seed=config.seed,
        class_names=names,
        definition=source,
        listed=listed,
        split=split,
        say=say,
    )
    if config.training.select == "held-out":
        labeled, held = _held_out(index, split) or hold_out(dataset, index.labeled, seed=config.seed, class_names=names)
        note = (
            f"{len(held)} of {len(index.labeled)} labelled images are held out: they choose the step, and train nothing"
        )
        index = replace(index, labeled=labeled, held_out=held, notes=(*index.notes, note))
    return Material(dataset=dataset, root=root, definition=definition, definition_text=text, index=index)


def with_value_range(config: RunConfig, dataset: Dataset, *, fixed: bool = False) -> RunConfig:
    """Return the settings with what the dataset says of the numbers of its images, so that a run keeps it.

    Raises:
        InputError: the settings say something else, or (`fixed`) belong to a run that began without it.
    """
    own, given = value_range_of(dataset), config.data.value_range
    if own is None or given == list(own):
        return config
    if given is not None or fixed:
        raise InputError(
            f"dataset {dataset.name!r} says value_range = {list(own)}, and data.value_range is "
            f"{'none' if given is None else given}: the same numbers must give the same picture throughout a run"
        )
    return resolve(config.model_dump(), {"data": {"value_range": list(own)}})


def _held_out(index: Index, split: Split | None) -> tuple[tuple[Record, ...], tuple[Record, ...]] | None:
    """Divide the labelled images as the run did that goes on; `None`: no such run is, or it held none out."""
    held = {*split.held_out} if split is not None else None
    if not held:
        return None
    return (
        tuple(record for record in index.labeled if record.id not in held),
        tuple(record for record in index.labeled if record.id in held),
    )


def read_definition(config: RunConfig, dataset: Dataset) -> tuple[str, str]:
    """Return the text of the class definition and where it comes from."""
    if config.data.definition is None and not dataset.definition:
        raise InputError(
            f"dataset {dataset.name!r} has no class definition of its own: write one (see semivl concepts --help) and "
            "pass it: --definition FILE"
        )
    source = own_definition(dataset) if config.data.definition is None else config.data.definition
    return definition_text(source), source


def clip_of(config: RunConfig, dataset: Dataset, reporter: Reporter) -> Clip:
    """Load the CLIP that the settings name; says aloud when its weights are random."""
    if config.model.weights == RANDOM:
        reporter.note("CLIP has random weights: this shows the mechanics, the masks will be poor")
    return load_clip(config.model.clip, weights_of(config, dataset), seed=config.seed)


def weights_of(config: RunConfig, dataset: Dataset) -> str:
    """What the settings call the weights, with a file of the dataset's plugin as its path."""
    weights = config.model.weights
    if weights.startswith(OWN_FILE):
        return str(package_file(dataset, weights.removeprefix(OWN_FILE)))
    return weights


def statistics_of(config: RunConfig, clip: Clip) -> Statistics:
    """Mean and deviation of the images of both ViTs."""
    return IMAGENET_STATISTICS if config.model.statistics == "imagenet" else clip.statistics


def build_guide(config: RunConfig, clip: Clip, definition: Definition) -> DenseClip:
    """Build the frozen CLIP that guides, on the CPU."""
    guidance = config.guidance
    if guidance.text == "max":
        text, class_of_concept = embed_concepts(clip.text, definition)
    else:
        text = embed_classes(clip.text, definition, guidance.text)
        class_of_concept = tuple(range(len(text)))
    encoder = build_encoder(clip, encoder_spec(clip.spec, config.model, guidance.position_size))
    return DenseClip(
        encoder,
        text,
        class_of_concept,
        clip.logit_scale if guidance.temperature == "checkpoint" else guidance.temperature,
        statistics_of(config, clip),
        guidance.aggregate,
    )
