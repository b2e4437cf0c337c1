"""One training step as the paper tells it: predictions (Sec. 3.1), then the loss with dense guidance (Eq. 1, 2, 4).

What comes before (guidance labels, counted pixels) is in `guidance_labels.py`, what comes after (the gradient of a
whole batch) in `accumulate.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from semivl_cli.config import RunConfig
from semivl_cli.engine.device import widest_float
from semivl_cli.engine.train.guidance_labels import Targets
from semivl_cli.engine.train.inputs import Labeled, Unlabeled
from semivl_cli.engine.train.losses import consistency_term, label_term
from semivl_cli.model.features import Features, perturb
from semivl_cli.model.semivl import SemiVL

VIEW_WEIGHTS = (1 / 2, 1 / 4, 1 / 4)
"""Of the feature-perturbed weak view and of both strong views (Eq. 2)."""


class View(NamedTuple):
    """A perturbed view of unlabelled images: the prediction p^p, and the pseudo-label p^u that it is to agree with."""

    log_p: Tensor
    """Log probabilities `[B, N, H, W]`."""
    pseudo_label: Tensor
    """Class ids `[B, H, W]`, without gradient."""
    confidence: Tensor
    """Probability of the pseudo-label, 0..1, `[B, H, W]`."""
    valid: Tensor
    """Bool `[B, H, W]`, false on padding."""


def step_losses(
    model: SemiVL, x: Labeled, u: Unlabeled | None, targets: Targets, config: RunConfig, lambda_DC: float
) -> dict[str, Tensor]:
    """Compute L = (L_s + L_u) / 2 with guidance for some images of a batch.

    Returns:
        What is logged, as scalars that add up over the images of a batch: `loss`, which is minimised, its terms, and
        the share of the batch's valid pixels that are here and whose pseudo-label was confident.
    """
    consistency, group = config.consistency, config.loss.group
    log_p_x, views = predict(model, x, u)

    L_s = label_term(log_p_x, x.label, targets.labeled_weight)
    C = [  # Eq. 1
        consistency_term(view.log_p, view.pseudo_label, view.confidence, view.valid, weight, consistency, group)
        for view, weight in zip(views, targets.consistency_weight, strict=True)
    ]
    DC = [  # Eq. 4; none without guidance
        label_term(view.log_p, label, weight)
        for view, label, weight in zip(views, targets.p_DC, targets.guidance_weight, strict=False)
    ]
    nothing = torch.zeros_like(L_s)
    terms = {  # what is logged as -> its weight in the loss, and the term
        "L_s": (1 / 2, L_s),
        "L_u": (1 / 2 * consistency.weight, over_views(C, nothing)),
        "guidance": (lambda_DC * (1 / 2 if config.guidance.inside_half else 1), over_views(DC, nothing)),
    }
    loss = sum((weight * term for weight, term in terms.values()), nothing)
    sure = [((view.confidence >= consistency.tau) & view.valid).sum() for view in views[:1]]
    accepted = sum(sure, nothing) / targets.valid_pixels[0].clamp(min=1)
    return {"loss": loss, **{name: term for name, (_, term) in terms.items()}, "pseudo_labels": accepted}


def over_views(terms: Sequence[Tensor], nothing: Tensor) -> Tensor:
    """Weigh a term of the three perturbed views (Eq. 2), in the widest float; `nothing` without views."""
    wide = widest_float(nothing.device)
    return sum((weight * term.to(wide) for weight, term in zip(VIEW_WEIGHTS, terms, strict=False)), nothing)


def predict(model: SemiVL, x: Labeled, u: Unlabeled | None) -> tuple[Tensor, list[View]]:
    """Return log probabilities of the labelled images and the perturbed views, of which there are none without `u`."""
    if u is None:
        return model(x.image).log_softmax(dim=1), []
    # Pseudo-labels of partners that are other crops come from the model at rest.
    p_partner = (None, None) if u.partner is None else _predict_at_rest(model, u.partner)

    # Predictions p on labelled, weak and feature-perturbed images: h(g(x)), h(g(x^u)), h(P(g(x^u))).
    b = len(x.image)
    features = model.encode(torch.cat([x.image, u.weak]))
    perturbed = perturb(Features(tuple(skip[b:] for skip in features.skips), features.dense[b:]), u.dropout)
    skips = tuple(torch.cat(pair) for pair in zip(features.skips, perturbed.skips, strict=True))
    everything = Features(skips, torch.cat([features.dense, perturbed.dense]))
    logits_x, logits_u, logits_fp = model.decode(everything, (x.image.shape[2], x.image.shape[3])).chunk(3)
    # Predictions under strong augmentation A and CutMix: h(g(A(x^u))), twice.
    logits_s1, logits_s2 = model(torch.cat(u.mixed)).chunk(2)

    # Pseudo-labels p^u, without gradient, mixed as the images were.
    p_u = logits_u.detach().softmax(dim=1).max(dim=1)
    confidence, pseudo_label = (u.mix(own, partner) for own, partner in zip(p_u, p_partner, strict=True))
    log_p = [logits.log_softmax(dim=1) for logits in (logits_fp, logits_s1, logits_s2)]
    views = zip(log_p, pseudo_label, confidence, u.valid, strict=True)
    return logits_x.log_softmax(dim=1), [View(*view) for view in views]


@torch.no_grad()
def _predict_at_rest(model: SemiVL, image: Tensor) -> tuple[Tensor, Tensor]:
    """Confidence and class of each pixel, in evaluation mode."""
    model.eval()
    confidence, label = model(image).softmax(dim=1).max(dim=1)
    model.train()
    return confidence, label
