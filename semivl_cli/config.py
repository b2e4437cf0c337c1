"""RunConfig: every setting of a run, declared once and checked.

The defaults are the paper's text (Sec. 4.1) on Pascal VOC; what the published code did differently is the preset
`fidelity = "published"`, a table of ordinary settings like any recipe.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)

from semivl_cli.labels_option import Labels, read_labels
from semivl_cli.limits import check_pixels

T = TypeVar("T")


def none_if_so_called(value: object) -> object:
    """TOML has no null: absence is the word `"none"` in files and on the command line, and `None` here."""
    return None if value == "none" else value


NONE_WORD = BeforeValidator(none_if_so_called)
OrNone = Annotated[T | None, NONE_WORD, PlainSerializer(lambda value: "none" if value is None else value)]
"""A setting that may be absent."""


def _writable(text: str) -> str:
    """Refuse what no file could be called, and `run.toml` could not hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("is no UTF-8: rename the file, or give another") from error
    if "\0" in text:
        raise ValueError("holds a NUL, which no name can")
    return text


def _drawable(side: int) -> int:
    check_pixels(side, side, f"a side of {side} pixels")
    return side


Text = Annotated[str, AfterValidator(_writable)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=2**53)]
Side = Annotated[Count, AfterValidator(_drawable)]
"""Of a square of pixels that is held in memory."""
Width = Annotated[int, Field(ge=1, le=2**16)]
Few = Annotated[int, Field(ge=0, le=1000)]
NotNegative = Annotated[float, Field(ge=0)]


def _ordered(values: list[Any]) -> list[Any]:
    if len(values) != 2 or values[0] > values[1]:
        raise ValueError("must hold the smallest and the largest value")
    return values


def _rising(values: list[float]) -> list[float]:
    if len(_ordered(values)) == 2 and not -math.inf < values[0] < values[1] < math.inf:
        raise ValueError("must hold two numbers, the smaller first")
    return values


def _of_length(length: int) -> AfterValidator:
    def check(values: list[Any]) -> list[Any]:
        if len(values) != length:
            raise ValueError(f"must hold {length} numbers")
        return values

    return AfterValidator(check)


Range = Annotated[list[T], AfterValidator(_ordered)]
"""The smallest and the largest value."""
Pair = Annotated[list[T], _of_length(2)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class DataSettings(_Section):
    """Which images, which labels, and how large a piece of them is seen at once."""

    root: OrNone[Text] = None
    """Folder of the dataset; `None`: `$SEMIVL_DATA/<dataset>`, else `data/<dataset>`."""
    definition: OrNone[Text] = None
    """Class-definition file or shipped name; `None`: the dataset's own."""
    labels: Annotated[Labels, PlainValidator(read_labels), PlainSerializer(str)] = read_labels("all")
    """How many images are labelled: a count, a fraction, a file of ids, or `all`."""
    missing: Literal["refuse", "skip"] = "refuse"
    """What to do about files that the dataset lists and the disk does not have."""
    unlabeled: list[Text] = []
    """Unlabelled images beside the dataset's own: folders, images, tar shards, `.txt` lists of paths, patterns."""
    damaged: Literal["auto", "refuse", "skip"] = "auto"
    """What to do about an unlabelled image that cannot be read: end, or take the next one of the shuffle. `auto`: the
    second for images of `data.unlabeled` and of datasets of more than 100,000, which are not all looked for at the
    start; the first for others."""
    value_range: OrNone[Annotated[list[float], AfterValidator(_rising)]] = None
    """Numbers of images of more than 8 bits that are shown black and white; `None`: as the dataset says, else the range
    of their type: 0..65535 where they are whole, 0..1 where they are not."""
    crop: Side = 512
    """Side of the square training crop and of evaluation windows, in pixels."""
    base_scale: OrNone[Pair[Side]] = None
    """Long and short side of the box that is scaled and then holds the image; `None`: its own size is scaled."""
    scale_range: Range[Annotated[float, Field(gt=0, le=1000)]] = [0.5, 2.0]
    """Smallest and largest random scale."""
    workers: Few | Literal["auto"] = "auto"
    """Loader processes."""


class AugmentSettings(_Section):
    """The strong views A (Sec. 3.1) and CutMix."""

    flip: Share = 0.0
    """Probability of a horizontal flip, of all views."""
    jitter_probability: Share = 0.8
    jitter: Annotated[list[NotNegative], _of_length(4)] = [0.5, 0.5, 0.5, 0.25]
    """Brightness, contrast, saturation, hue: a factor is drawn from `1 - x .. 1 + x`; the hue is shifted by `-x .. x`
    turns of the colour circle."""
    grayscale: Share = 0.2
    """Probability of grayscale."""
    blur: Share = 0.0
    """Probability of the Gaussian blur."""
    blur_sigma: Range[Positive] = [0.1, 2.0]
    """Range of its standard deviation in pixels."""
    cutmix: Share = 0.5
    """Probability that a view has a box at all."""
    cutmix_area: Range[Share] = [0.02, 0.4]
    """Share of the view that a box fills, drawn uniformly."""
    cutmix_ratio: Range[Annotated[float, Field(ge=0.01, le=100)]] = [0.3, 1 / 0.3]
    """Height over width, drawn uniformly."""
    partner: Literal["pair", "same_image"] = "pair"
    """What CutMix pastes: the neighbour in the batch, or another crop of the same image."""


class ModelSettings(_Section):
    """The CLIP that encoder and guidance start from, and how its image tower is read."""

    clip: Text | dict[str, Any] = "ViT-B-16"
    """Name of an open_clip model, or its configuration as a table; `from-weights`: as the weights file says."""
    weights: Text = "openai"
    """open_clip tag, a file (also `plugin:<file>`, inside the dataset's package), or `random`."""
    initial: Literal["clip", "random"] = "clip"
    """What the encoder starts from: that CLIP, or fresh weights of its shape, which want a higher
    `optimizer.encoder_multiplier`; texts and guidance are CLIP's either way."""
    init: OrNone[Text] = None
    """A run with whose weights all of the model begins (`--init`); `None`: as `initial` says."""
    activation: Literal["checkpoint", "gelu"] = "checkpoint"
    """Activation of the image tower; `gelu`: exact GELU whatever CLIP was trained with."""
    norm_eps: Positive | Literal["checkpoint"] = "checkpoint"
    statistics: Literal["checkpoint", "imagenet"] = "checkpoint"
    """Mean and deviation by which the images of both ViTs are normalised."""
    skips: list[Annotated[int, Field(ge=0)]] = [0, 3]
    """Blocks, counted from 0, whose features the decoder sees."""
    skip_path: Literal["value", "block"] = "block"
    """Value path or ordinary output of those blocks."""
    detail: OrNone[Literal["resnet"]] = None
    """A convolutional encoder for small segments in place of the earlier skip (Cityscapes)."""


class FinetuneSettings(_Section):
    """Which parameters of the encoder train (Sec. 3.3)."""

    encoder: str = "spatial"
    """One of `model/finetune.py`."""
    attention_norm: bool = True
    """Whether spatial fine-tuning includes the norm in front of the attention."""


class DecoderSettings(_Section):
    """The language-guided decoder (Sec. 3.4), or the baseline's."""

    kind: str = "language"
    """One of `model/build.py`; `convolutional`: a DeepLabv3+-style head that reads no text; same dilations and widths,
    but an upsampling four times as wide, since one map serves all classes."""
    width: Width = 128
    text_width: Width = 128
    up_widths: Pair[Width] = [64, 32]
    skip_widths: Pair[Width] = [32, 16]
    dilations: Annotated[list[Width], Field(max_length=100)] = [6, 12, 18]
    layers: Few = 2
    heads: Width = 4
    pool: Width = 4
    text: Literal["name", "guideline", "mean"] = "name"
    """The one vector of a class: its name, its guideline sentence, or the mean over its concepts."""
    resize: Literal["image", "crop"] = "image"
    """Logits go straight to the image's size, or first to a square of the crop's."""


class ConsistencySettings(_Section):
    """Consistency training (Eq. 1 and 2)."""

    weight: NotNegative = 1.0
    """Weight of L_u; 0 with no guidance leaves the unlabelled images unread."""
    mode: Literal["pixelwise", "pixelratio", "pixelavg"] = "pixelwise"
    tau: Share = 0.95
    reduction: Literal["mean_all", "mean_valid"] = "mean_all"
    """The sum over pixels is divided by all pixels, or by those that are no padding."""
    feature_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of channels that the perturbation P drops."""


class GuidanceSettings(_Section):
    """Dense CLIP guidance with class definitions (Eq. 4 and 5)."""

    lambda_DC: Pair[NotNegative] = [0.1, 0.0]  # noqa: N815 - the paper's symbol
    """Weight at the first and the last step, linear between."""
    zeta: Share = 0.9
    reduction: Literal["mean_all", "mean_valid", "mean"] = "mean_all"
    """Divided by all pixels, by those that are no padding, or by those with a guidance label."""
    inside_half: bool = True
    """Whether guidance stands inside C, so that the 1/2 of L = (L_s + L_u) / 2 covers it (Eq. 4)."""
    text: Literal["max", "name", "guideline", "mean"] = "max"
    """`max`: every concept, the best of a class counts (Eq. 5); otherwise one vector a class."""
    aggregate: Literal["probability", "similarity"] = "probability"
    """The maximum over concepts is taken of probabilities (Eq. 5) or of similarities."""
    temperature: Positive | Literal["checkpoint"] = "checkpoint"
    """Factor of similarities before the softmax; `checkpoint`: CLIP's own logit scale."""
    position_size: Side | Literal["checkpoint"] = "checkpoint"
    """Image size for which the frozen encoder keeps its position embedding before resizing it to the input."""


class LossSettings(_Section):
    """How losses are counted."""

    group: Annotated[int, Field(ge=0)] = 0
    """How many images' pixels are counted together; 0: the whole global batch."""


class OptimizerSettings(_Section):
    """AdamW with polynomial decay."""

    lr: Positive = 1e-4
    encoder_multiplier: Positive = 0.01
    decoder_multiplier: Positive = 1.0
    detail_multiplier: Positive = 1.0
    weight_decay: NotNegative = 0.01
    power: NotNegative = 0.9
    """Exponent of the decay (1 - t/T)^power."""


class TrainingSettings(_Section):
    """How long, how much at once, how often something is kept."""

    steps: OrNone[Count] = None
    """Length in steps; shortens any run. `None`: `epochs` says."""
    epochs: OrNone[Positive] = 80.0
    """Length in passes over the unlabelled images."""
    batch: Count = 8
    """Labelled images a step, and as many unlabelled ones, over all devices."""
    micro_batch: Count | Literal["auto", "fit"] = "auto"
    """Images of each kind that a device computes at once; their gradients are accumulated. `auto`: all, and fewer once
    memory is short; `fit`: the largest number that fits, found by trying at the start."""
    checkpoint_activations: bool | Literal["auto"] = "auto"
    """Compute activations again for the gradient instead of keeping them: the same numbers in less memory, slower.
    `auto`: once memory is short and no smaller micro-batch is left."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 autocast on CUDA, float32 elsewhere. On CUDA, what float32 multiplies is rounded to TF32."""
    evaluate_every: OrNone[Positive] = 1.0
    """Epochs between evaluations; `None`: only at the end."""
    evaluate_steps: OrNone[Count] = None
    """Steps between evaluations; stronger than `evaluate_every`."""
    save_steps: Count = 500
    """Steps between checkpoints (one is also kept at every evaluation)."""
    log_steps: Count = 10
    """Steps between lines of `metrics.jsonl`."""
    deterministic: bool = False
    """Whether torch takes only kernels that give the same bits each time: slower on a GPU, nothing new on a CPU."""
    select: Literal["last", "best", "held-out"] = "best"
    """Which step is the result: the last; the best on the very images that are reported, as in the published numbers;
    or the best on a fifth of the labelled images, which is set aside for this and not trained on."""


class EvaluationSettings(_Section):
    """How an image of any size is segmented, in evaluation and prediction alike."""

    mode: Literal["averaged_logits", "summed_probabilities", "whole"] = "averaged_logits"
    """Sliding windows, two ways; or the whole image at once."""
    stride: OrNone[Count] = None
    """Step of the windows, at most their side; `None`: two thirds of the crop."""
    short_side: OrNone[Side] = None
    """Length to which the image's short side is resized before; `None`: as it is."""


class RunConfig(_Section):
    """Everything that decides what a training does."""

    dataset: Text = "shapes"
    method: Text = "semivl"
    fidelity: Literal["paper", "published"] = "paper"
    recipe: OrNone[Text] = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: Text = "auto"
    """Where it is computed: `auto` (CUDA, else Apple's `mps`, else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`."""
    data: DataSettings = DataSettings()
    augment: AugmentSettings = AugmentSettings()
    model: ModelSettings = ModelSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    decoder: DecoderSettings = DecoderSettings()
    consistency: ConsistencySettings = ConsistencySettings()
    guidance: GuidanceSettings = GuidanceSettings()
    loss: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    @property
    def uses_guidance(self) -> bool:
        """Whether any step weighs the frozen CLIP."""
        return max(self.guidance.lambda_DC) > 0

    @property
    def uses_unlabeled(self) -> bool:
        """Whether the unlabelled images can change the result."""
        return self.consistency.weight > 0 or self.uses_guidance

    @model_validator(mode="after")
    def _agree(self) -> RunConfig:
        batch, group, micro = self.training.batch, self.loss.group, self.training.micro_batch
        if self.training.steps is None and self.training.epochs is None:
            raise ValueError("training.steps and training.epochs are both none: set one")
        if group and batch % group:
            raise ValueError(f"training.batch = {batch} must be a multiple of loss.group = {group}")
        if isinstance(micro, int) and batch % micro:
            raise ValueError(f"training.batch = {batch} must be a multiple of training.micro_batch = {micro}")
        if isinstance(micro, int) and micro % self.micro_batch_unit:
            unit = self.micro_batch_unit
            raise ValueError(f"training.micro_batch = {micro} must be a multiple of {unit} for these settings")
        if self.augment.partner == "pair" and self.uses_unlabeled and batch % 2:
            raise ValueError(
                f'augment.partner = "pair" pairs the images of a batch: training.batch = {batch} must be even'
            )
        if self.model.initial == "random" and self.finetune.encoder != "full":
            raise ValueError(
                f'model.initial = "random" starts an encoder that finetune.encoder = "{self.finetune.encoder}" would '
                'keep from learning: set finetune.encoder = "full"'
            )
        if (skips := 2 - (self.model.detail is not None)) != len(self.model.skips):
            raise ValueError(f"model.skips must name {skips} block(s), it names {len(self.model.skips)}")
        if len(set(self.model.skips)) < skips:
            raise ValueError(f"model.skips = {self.model.skips}: expected {skips} different blocks")
        (_, area), ratio = self.augment.cutmix_area, self.augment.cutmix_ratio
        form = min(max(1.0, ratio[0]), ratio[1])  # of the drawn ones the nearest to the view's own
        if math.sqrt(area * max(form, 1 / form)) > 0.95:  # of a side: larger boxes would be redrawn without end
            raise ValueError(
                f"CutMix boxes of area {area} and ratio {ratio[0]:g} to {ratio[1]:g} hardly ever fit: expected a "
                "smaller area, or ratios nearer to 1"
            )
        return self

    @property
    def micro_batch_unit(self) -> int:
        """Smallest number of images that must be computed together: a pair for CutMix, a group for `pixelavg`."""
        unit = 2 if self.augment.partner == "pair" and self.uses_unlabeled else 1
        group = self.loss.group or self.training.batch
        if self.consistency.mode == "pixelavg" and self.consistency.weight > 0:
            unit = math.lcm(unit, group)
        if self.model.detail is not None:  # BatchNorm sees the images of a group together
            unit = max(unit, group)
        return unit
