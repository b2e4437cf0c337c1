"""A model, a batch and settings so small that a step of them takes milliseconds, in float64."""

import torch

from semivl_cli.class_ids import IGNORE
from semivl_cli.config import RunConfig
from semivl_cli.engine.train.accumulate import accumulate_gradients
from semivl_cli.engine.train.guidance_labels import make_targets
from semivl_cli.engine.train.inputs import Labeled, Unlabeled, Views, cutmix
from semivl_cli.model.decoders.decoder import DecoderSpec
from semivl_cli.model.decoders.language import LanguageGuidedDecoder
from semivl_cli.model.encoders.dense_vit import DenseEncoder, EncoderSpec
from semivl_cli.model.encoders.detail import DetailEncoder
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.pixels import IMAGENET_STATISTICS
from semivl_cli.model.semivl import SemiVL
from semivl_cli.settings_toml import resolve

CLASSES, SIZE = 3, 16
SPEC = EncoderSpec(
    width=8,
    layers=2,
    heads=2,
    mlp_width=16,
    patch_size=4,
    grid=(4, 4),
    embed_dim=6,
    activation="gelu",
    norm_eps=1e-5,
    pre_norm=True,
    pool="tok",
    norm_after_pool=True,
)


def settings(batch: int = 4, **changed) -> RunConfig:
    """Thresholds that such a model reaches; `changed`: tables of settings."""
    base = {
        "consistency": {"tau": 0.4, "reduction": "mean_valid"},
        "guidance": {"zeta": 0.45, "inside_half": False},
        "augment": {"partner": "same_image"},
        "training": {"batch": batch},
    }
    return resolve(base, changed)


def build(detail: bool = False) -> tuple[SemiVL, DenseClip]:
    torch.manual_seed(0)
    decoder = DecoderSpec(
        embed_dim=6,
        skip_channels=(16 if detail else 8, 8),
        width=8,
        text_width=8,
        up_widths=(8, 8),
        skip_widths=(4, 4),
        dilations=(1, 2),
        layers=1,
        heads=2,
        pool=2,
    )
    model = SemiVL(
        DenseEncoder(SPEC, (1,) if detail else (0, 1)),
        LanguageGuidedDecoder(decoder, CLASSES),
        torch.randn(CLASSES, 6),
        IMAGENET_STATISTICS,
        detail=DetailEncoder(4) if detail else None,
    )
    text = torch.nn.functional.normalize(torch.randn(5, 6), dim=1)
    guide = DenseClip(DenseEncoder(SPEC), text, [0, 1, 2, 1, 0], 3.0, IMAGENET_STATISTICS, "similarity")
    return model.double().train(), guide.double()


def views(b: int) -> tuple[Views, Views]:
    """Views of images, and of other crops of them, which partly are padding."""
    rng = torch.Generator().manual_seed(1)
    images = torch.randint(256, (6, b, 3, SIZE, SIZE), generator=rng, dtype=torch.uint8)
    valid = torch.rand(2, b, SIZE, SIZE, generator=rng) < torch.tensor([0.8, 0.6])[:, None, None, None]
    valid[0, -1, 5:] = False
    return Views(*images[:3], valid[0]), Views(*images[3:], valid[1])


def batch(b: int, partner: bool, channels=(8, 8, 6)) -> tuple[Labeled, Unlabeled]:
    """`partner`: whether CutMix pastes other crops; otherwise the images of each pair are each other's partner."""
    rng = torch.Generator().manual_seed(2)
    image = torch.randint(256, (b, 3, SIZE, SIZE), generator=rng, dtype=torch.uint8)
    label = torch.randint(CLASSES, (b, SIZE, SIZE), generator=rng, dtype=torch.uint8)
    label[torch.rand(b, SIZE, SIZE, generator=rng) < 0.3] = IGNORE
    label[0] = IGNORE  # an image without labels must not disturb the counting
    box1, box2 = torch.zeros(2, b, SIZE, SIZE, dtype=torch.bool)
    box1[:, 2:9, 3:12], box2[1:, 5:, :7] = True, True
    own, other = views(b)
    dropout = tuple((torch.rand(b, c, generator=rng) < 0.5) * 2.0 for c in channels)
    return Labeled(image=image, label=label), cutmix(own, other if partner else None, (box1, box2), dropout)


def train_step(model, guide, x, u, config, lambda_DC, micro_batch):
    """What the loop does between a batch and the optimizer."""
    targets = make_targets(guide, x, u, config, micro_batch)
    return accumulate_gradients(model, x, u, targets, config, lambda_DC, micro_batch)
