"""RunConfig -> dataset, words, model, guidance: the one place that introduces the rooms to each other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semivl_cli.concepts.load import definition_text, parse_definition
from semivl_cli.concepts.schema import Definition
from semivl_cli.config import RunConfig
from semivl_cli.data.choose.held_out import hold_out
from semivl_cli.data.choose.index import Index, build_index, find_root
from semivl_cli.data.contract import Dataset
from semivl_cli.data.load.batches import ViewSettings
from semivl_cli.data.read.augment import ColorSettings
from semivl_cli.data.read.cutmix import CutMixSettings
from semivl_cli.data.registry import open_dataset, own_definition, package_file
from semivl_cli.engine.distributed.group import ALONE, ProcessGroup, cuda_device
from semivl_cli.engine.infer.windows import Inference
from semivl_cli.engine.rundir.checkpoint import ModelSpec
from semivl_cli.engine.rundir.layout import read_json
from semivl_cli.engine.text_vectors import embed_classes, embed_concepts
from semivl_cli.errors import InputError
from semivl_cli.model.clip import RANDOM, Clip, build_encoder, encoder_spec, load_clip
from semivl_cli.model.decoders.convolutional import SHARED
from semivl_cli.model.decoders.language import DecoderSpec
from semivl_cli.model.encoders.dense_vit import EncoderSpec
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.semivl import IMAGENET_STATISTICS, SemiVL
from semivl_cli.reporter import Reporter

DETAIL_BASE = 64
"""Width of the first stage of a ResNet-101."""


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


def open_material(
    config: RunConfig, inherited: Inherited | None = None, say: Callable[[str], None] = lambda _: None
) -> Material:
    """Open the dataset and the definition, and list the records.

    Args:
        config: of the run.
        inherited: whose words and labelled images are taken; `None`: those that the settings name.
        say: takes a line when something takes long.

    Raises:
        InputError: data or definition do not fit, or a file of the run is damaged.
    """
    dataset = open_dataset(config.dataset)
    if inherited is None or not inherited.words:
        text, source = read_definition(config, dataset)
    else:
        text, source = definition_text(inherited.run / "definition.toml"), str(inherited.run / "definition.toml")
    definition = parse_definition(text, source)
    if len(definition.classes) < 2:
        raise InputError(f"{source} has {len(definition.classes)} class: segmentation tells at least two apart")
    root = find_root(dataset.name, None if config.data.root == "none" else Path(config.data.root))
    index = build_index(
        dataset,
        root,
        labels=config.data.labels,
        seed=config.seed,
        class_names=definition.names,
        missing=config.data.missing,
        # What was left out because files were missing stands in no list: the settings choose, and leave out, again.
        listed=_labeled_ids(inherited.run / "split.json")
        if inherited is not None and inherited.labels and config.data.missing == "refuse"
        else None,
        more=config.data.unlabeled,
        say=say,
    )
    if config.training.select == "held-out":
        labeled, held = hold_out(dataset, index.labeled, seed=config.seed, class_names=definition.names)
        note = (
            f"{len(held)} of {len(index.labeled)} labelled images are held out: they choose the step, and train nothing"
        )
        index = replace(index, labeled=labeled, held_out=held, notes=(*index.notes, note))
    return Material(dataset=dataset, root=root, definition=definition, definition_text=text, index=index)


def _labeled_ids(split: Path) -> tuple[list[str], str] | None:
    """Return the labelled ids that a run kept, and where; `None`: it kept none, as an imported one."""
    content = read_json(split)
    if not content:
        return None
    ids = content.get("labeled")
    if isinstance(ids, list):
        ids += content.get("held_out", [])
    if not isinstance(ids, list) or not ids:
        raise InputError(f"{split} names no labelled images: put the file back that semivl train wrote")
    return [str(name) for name in ids], str(split)


def read_definition(config: RunConfig, dataset: Dataset) -> tuple[str, str]:
    """Return the text of the class definition and where it comes from."""
    if config.data.definition != "none":
        return definition_text(config.data.definition), config.data.definition
    if not dataset.definition:
        raise InputError(
            f"dataset {dataset.name!r} has no class definition of its own: write one (see semivl concepts --help) and "
            "pass it: --definition FILE"
        )
    own = own_definition(dataset)
    return definition_text(own), own


def open_clip_of(config: RunConfig, dataset: Dataset, reporter: Reporter) -> Clip:
    """Load the CLIP that the settings name; says aloud when its weights are random."""
    if config.model.weights == RANDOM:
        reporter.note("CLIP has random weights: this shows the mechanics, the masks will be poor")
    return load_clip(config.model.clip, weights_of(config, dataset), seed=config.seed)


def weights_of(config: RunConfig, dataset: Dataset) -> str:
    """What the settings call the weights, with a file of the dataset's plugin as its path."""
    weights = config.model.weights
    if weights.startswith("plugin:"):
        return str(package_file(dataset, weights.removeprefix("plugin:")))
    return weights


def model_spec(
    config: RunConfig, clip: EncoderSpec, statistics: tuple[tuple[float, ...], tuple[float, ...]]
) -> ModelSpec:
    """Shape of the model for a CLIP of a given shape, with its position embedding stored for the crop.

    Raises:
        InputError: widths or sizes that do not go together.
    """
    encoder = encoder_spec(clip, config.model.activation, config.model.norm_eps, config.data.crop)
    if max(config.model.skips) >= encoder.layers:
        raise InputError(f"model.skips = {config.model.skips}: this CLIP has blocks 0 to {encoder.layers - 1}")
    detail = config.model.detail == "resnet"
    decoder = config.decoder
    spec = ModelSpec(
        encoder=encoder,
        decoder=DecoderSpec(
            embed_dim=encoder.embed_dim,
            skip_channels=(4 * DETAIL_BASE if detail else encoder.width, encoder.width),
            width=decoder.width,
            text_width=decoder.text_width,
            up_widths=(decoder.up_widths[0], decoder.up_widths[1]),
            skip_widths=(decoder.skip_widths[0], decoder.skip_widths[1]),
            dilations=tuple(decoder.dilations),
            layers=decoder.layers,
            heads=decoder.heads,
            pool=decoder.pool,
        ),
        decoder_kind=decoder.kind,
        skips=tuple(config.model.skips),
        skip_path=config.model.skip_path,
        statistics=statistics,
        output_size=config.data.crop if decoder.resize == "crop" else None,
        detail_base=DETAIL_BASE if detail else None,
    )
    _check_shapes(spec, config)
    return spec


def statistics_of(config: RunConfig, clip: Clip) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the images of both ViTs."""
    return IMAGENET_STATISTICS if config.model.statistics == "imagenet" else clip.statistics


def build_guide(config: RunConfig, clip: Clip, definition: Definition) -> DenseClip:
    """Build the frozen CLIP that guides, on the CPU."""
    guidance, published = config.guidance, config.fidelity == "published"
    text: Tensor
    if guidance.text == "max":
        text, class_of_concept = embed_concepts(clip.text, definition, published)
    else:
        text = embed_classes(clip.text, definition, guidance.text, published)
        class_of_concept = tuple(range(len(text)))
    encoder = build_encoder(
        clip,
        activation=config.model.activation,
        norm_eps=config.model.norm_eps,
        image_size=guidance.position_size,
    )
    return DenseClip(
        encoder,
        text,
        class_of_concept,
        clip.logit_scale if guidance.temperature == "checkpoint" else guidance.temperature,
        statistics_of(config, clip),
        guidance.aggregate,
    )


def place(model: SemiVL, device: torch.device) -> SemiVL:
    """Move the model to `device`, its convolutions in the memory order that they are fastest in (channels last)."""
    return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def view_settings(config: RunConfig) -> ViewSettings:
    """Settings of the views, as the data room takes them."""
    augment, base = config.augment, config.data.base_scale
    brightness, contrast, saturation, hue = augment.jitter
    return ViewSettings(
        crop=config.data.crop,
        base_scale=None if base == "none" else (base[0], base[1]),
        scale_range=_pair(config.data.scale_range),
        flip=augment.flip,
        color=ColorSettings(
            jitter=augment.jitter_probability,
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=hue,
            gray=augment.grayscale,
            blur=augment.blur,
            sigma=_pair(augment.blur_sigma),
        ),
        cutmix=CutMixSettings(
            probability=augment.cutmix, area=_pair(augment.cutmix_area), ratio=_pair(augment.cutmix_ratio)
        ),
        partner=augment.partner,
    )


def inference(config: RunConfig, smallest: int) -> Inference:
    """How evaluation and prediction cut images; `smallest`: shortest side of a window that the model takes."""
    crop, stride = config.data.crop, config.evaluation.stride
    return Inference(
        mode=config.evaluation.mode,
        crop=crop,
        stride=int(crop * 2 / 3) if stride == "none" else stride,
        smallest=smallest,
    )


def autocast(config: RunConfig, device: torch.device) -> AbstractContextManager[Any]:
    """bf16 where the settings say so, in training, evaluation and prediction alike.

    What stays float32 on a GPU is multiplied in TF32, as the published code's PyTorch did unasked.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    wanted = config.training.precision
    if wanted == "bf16" or (wanted == "auto" and device.type == "cuda"):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def short_side(config: RunConfig) -> int | None:
    """Length to which evaluation and prediction scale the short side; `None`: as it is."""
    return None if config.evaluation.short_side == "none" else config.evaluation.short_side


def pick_device(name: str, process_group: ProcessGroup = ALONE) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:1` into a device that is there; among many processes, into this one's."""
    if process_group.world_size > 1 and (name == "cuda" or (name == "auto" and torch.cuda.is_available())):
        return cuda_device(process_group)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device {name!r}: expected auto, cpu, cuda or cuda:N") from error
    if process_group.world_size > 1 and device.type == "cuda":
        raise InputError(f"device {name!r} is one GPU for {process_group.world_size} processes: say --device cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r} is not here: torch sees {torch.cuda.device_count()} CUDA devices; try --device cpu"
        )
    return device


def _check_shapes(spec: ModelSpec, config: RunConfig) -> None:
    reasons = spec.decoder_kind == "language"
    patches = -(-config.data.crop // spec.encoder.patch_size)
    if reasons and patches < spec.decoder.pool:
        raise InputError(
            f"data.crop = {config.data.crop} gives {patches} x {patches} patches: the decoder pools "
            f"{spec.decoder.pool} x {spec.decoder.pool} of them, so the crop must be at least "
            f"{spec.decoder.pool * spec.encoder.patch_size}"
        )
    if reasons and (spec.decoder.width + spec.decoder.text_width) % spec.decoder.heads:
        raise InputError(
            f"decoder.width + decoder.text_width = {spec.decoder.width + spec.decoder.text_width} must be "
            f"a multiple of decoder.heads = {spec.decoder.heads}"
        )
    for name, width in (
        ("decoder.width", spec.decoder.width),
        *((f"decoder.up_widths: {w}", w if reasons else SHARED * w) for w in spec.decoder.up_widths),
    ):
        if width > 16 and width % (width // 16):
            raise InputError(
                f"{name} must be divisible by its number of norm groups, {width // 16}: take a multiple of 16"
            )
    for skip, inputs in zip(spec.decoder.skip_widths, (spec.decoder.width, spec.decoder.up_widths[0]), strict=True):
        if skip >= inputs:
            raise InputError(f"decoder.skip_widths: {skip} must be smaller than the {inputs} channels that it joins")


def _pair(values: list[float]) -> tuple[float, float]:
    return values[0], values[1]
