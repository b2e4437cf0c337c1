"""One step: micro-batches add up to the whole batch, whatever is counted together."""

from dataclasses import replace

import pytest
import torch

from semivl_cli.engine.train.step import (
    IGNORE,
    Labeled,
    StepSettings,
    Unlabeled,
    prepare_targets,
    step_losses,
    train_step,
)
from semivl_cli.model.decoders.decoder import DecoderSpec
from semivl_cli.model.decoders.language import LanguageGuidedDecoder
from semivl_cli.model.encoders.dense_vit import DenseEncoder, EncoderSpec
from semivl_cli.model.encoders.detail import DetailEncoder
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.pixels import IMAGENET_STATISTICS
from semivl_cli.model.semivl import SemiVL

CLASSES, SIZE = 3, 16
SETTINGS = StepSettings(
    consistency_weight=1.0,
    mode="pixelwise",
    tau=0.4,
    consistency_reduction="mean_valid",
    zeta=0.45,
    guidance_reduction="mean_all",
    inside_half=False,
    group=0,
)
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


def batch(b: int, partner: bool, channels=(8, 8, 6)) -> tuple[Labeled, Unlabeled]:
    rng = torch.Generator().manual_seed(1)

    def image():
        return torch.randint(256, (b, 3, SIZE, SIZE), generator=rng, dtype=torch.uint8)

    def mask(share):
        return torch.rand(b, SIZE, SIZE, generator=rng) < share

    label = torch.randint(CLASSES, (b, SIZE, SIZE), generator=rng, dtype=torch.uint8)
    label[mask(0.3)] = IGNORE
    label[0] = IGNORE  # an image without labels must not disturb the counting
    valid, other_valid = mask(0.8), mask(0.6)
    valid[-1, 5:] = False
    box1, box2 = torch.zeros(2, b, SIZE, SIZE, dtype=torch.bool)
    box1[:, 2:9, 3:12], box2[1:, 5:, :7] = True, True
    u = Unlabeled(
        weak=image(),
        strong1=image(),
        strong2=image(),
        valid=valid,
        box1=box1,
        box2=box2,
        other_weak=image() if partner else None,
        other_strong1=image() if partner else None,
        other_strong2=image() if partner else None,
        other_valid=other_valid if partner else None,
        dropout=tuple((torch.rand(b, c, generator=rng) < 0.5) * 2.0 for c in channels),
    )
    return Labeled(image=image(), label=label), u


def gradient(settings: StepSettings, b: int, micro_batch: int, partner: bool, with_u: bool = True):
    model, guide = build()
    x, u = batch(b, partner)
    seen = train_step(model, guide, x, u if with_u else None, settings, 0.3, micro_batch)
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return grads, {name: float(value) for name, value in seen.items()}


@pytest.mark.parametrize("partner", [True, False], ids=["same_image", "pair"])
@pytest.mark.parametrize(
    ("mode", "group", "micro_batch"),
    [
        ("pixelwise", 0, 2),
        ("pixelratio", 0, 2),
        ("pixelwise", 2, 2),
        ("pixelratio", 2, 2),
        ("pixelavg", 2, 2),
        ("pixelavg", 1, 2),
    ],
)
def test_micro_batches_add_up_to_the_whole(mode, group, micro_batch, partner):
    for reduction in ("mean_all", "mean_valid", "mean"):
        settings = replace(SETTINGS, mode=mode, group=group, guidance_reduction=reduction)
        whole, seen = gradient(settings, 4, 4, partner)
        parts, seen_in_parts = gradient(settings, 4, micro_batch, partner)
        assert whole.keys() == parts.keys() and whole
        for name in whole:
            assert float((whole[name] - parts[name]).norm()) <= 1e-6 * float(whole[name].norm()) + 1e-12, name
        for name in ("loss", "L_s", "L_u", "guidance", "guidance_pixels"):
            assert seen[name] == pytest.approx(seen_in_parts[name], rel=1e-6), name


def test_single_images_add_up_too_where_no_image_needs_another():
    whole, _ = gradient(SETTINGS, 3, 3, partner=True)
    parts, _ = gradient(SETTINGS, 3, 1, partner=True)
    for name in whole:
        assert float((whole[name] - parts[name]).norm()) <= 1e-6 * float(whole[name].norm()) + 1e-12, name


def test_groups_are_averaged():
    """A step over two groups is the mean of two steps over one group each."""
    settings = replace(SETTINGS, mode="pixelavg", group=2)
    both, _ = gradient(settings, 4, 4, partner=False)
    model, guide = build()
    x, u = batch(4, partner=False)
    for part in (slice(0, 2), slice(2, 4)):
        x_part = Labeled(image=x.image[part], label=x.label[part])
        fields = ("weak", "strong1", "strong2", "valid", "box1", "box2")
        u_part = replace(
            u, **{name: getattr(u, name)[part] for name in fields}, dropout=tuple(p[part] for p in u.dropout)
        )
        train_step(model, guide, x_part, u_part, settings, 0.3, 2)
    for name, parameter in model.named_parameters():
        assert torch.allclose(both[name], parameter.grad / 2, rtol=1e-6, atol=1e-12), name


def test_a_pair_exchanges_what_lies_in_the_boxes():
    model, guide = build()
    x, u = batch(2, partner=False)
    explicit = replace(
        u,
        other_weak=u.weak.flip(0),
        other_strong1=u.strong1.flip(0),
        other_strong2=u.strong2.flip(0),
        other_valid=u.valid.flip(0),
    )
    implied = prepare_targets(guide, x, u, SETTINGS, 2)
    spelled = prepare_targets(guide, x, explicit, SETTINGS, 2)
    for mine, theirs in zip(implied.guidance_label, spelled.guidance_label, strict=True):
        assert torch.equal(mine, theirs)
    one = step_losses(model, x, u, implied, SETTINGS, 0.3)
    two = step_losses(model.train(), x, explicit, spelled, SETTINGS, 0.3)
    # Without normalisation over batches the model at rest says the same, so only who computes it differs.
    assert float(one.total.detach()) == pytest.approx(float(two.total.detach()), rel=1e-9)


def test_the_total_is_the_sum_of_its_terms():
    model, guide = build()
    x, u = batch(2, partner=True)
    targets = prepare_targets(guide, x, u, SETTINGS, 2)
    losses = step_losses(model, x, u, targets, SETTINGS, 0.3)
    t = {name: float(term.detach()) for name, term in losses.terms.items()}
    consistency = t["fp"] / 2 + t["s1"] / 4 + t["s2"] / 4
    guidance = t["dc_fp"] / 2 + t["dc_s1"] / 4 + t["dc_s2"] / 4
    supervised = float(losses.L_s.detach())
    assert all(term > 0 for term in (*t.values(), supervised))
    assert float(losses.total.detach()) == pytest.approx((supervised + consistency) / 2 + 0.3 * guidance)
    inside = step_losses(model, x, u, targets, replace(SETTINGS, inside_half=True, consistency_weight=0.5), 0.3)
    expected = (supervised + consistency / 2) / 2 + 0.3 * guidance / 2
    assert float(inside.total.detach()) == pytest.approx(expected)


def test_padding_has_neither_guidance_nor_consistency():
    model, guide = build()
    x, u = batch(2, partner=True)
    u = replace(u, valid=torch.zeros_like(u.valid), other_valid=torch.zeros_like(u.other_valid))
    targets = prepare_targets(guide, x, u, SETTINGS, 2)
    assert all(bool((label == IGNORE).all()) for label in targets.guidance_label)
    losses = step_losses(model, x, u, targets, SETTINGS, 0.3)
    assert float(losses.L_u.detach()) == float(losses.guidance.detach()) == float(losses.pseudo_labels) == 0


def test_without_unlabeled_images_half_the_supervised_term_is_left():
    grads, seen = gradient(SETTINGS, 2, 2, partner=True, with_u=False)
    assert seen["loss"] == pytest.approx(seen["L_s"] / 2)
    assert seen["L_u"] == seen["guidance"] == 0 and "guidance_pixels" not in seen
    assert grads


def test_without_guidance_there_is_no_such_term():
    model, _ = build()
    x, u = batch(2, partner=True)
    losses = step_losses(model, x, u, prepare_targets(None, x, u, SETTINGS, 2), SETTINGS, 0.3)
    assert losses.terms.keys() == {"fp", "s1", "s2"}
    assert float(losses.total.detach()) == pytest.approx(float((losses.L_s + losses.L_u).detach()) / 2)


def test_the_partners_do_not_move_running_statistics():
    """Two forwards in training mode, over [labelled, weak] and over both strong views, and no more."""
    model, _ = build(detail=True)
    x, u = batch(2, partner=True, channels=(16, 8, 6))
    train_step(model, None, x, u, SETTINGS, 0.0, 2)
    assert model.training
    counted = {int(b) for name, b in model.named_buffers() if name.endswith("num_batches_tracked")}
    assert counted == {2}
