"""Pictures of some validation images: scene, label, guidance, prediction, as files that the report lays out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

from semivl_cli.class_ids import IGNORE
from semivl_cli.data.load.samples import val_samples
from semivl_cli.engine.assemble import Material
from semivl_cli.engine.device import autocast
from semivl_cli.engine.infer.windows import Inference, class_scores, classes_at, scores_at
from semivl_cli.engine.rundir.layout import EXAMPLES
from semivl_cli.files import replacing_folder, writing
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.semivl import SemiVL
from semivl_cli.palette import save_image, save_mask


@torch.inference_mode()
def write_examples(run: Path, model: SemiVL, guide: DenseClip | None, material: Material, how: Inference) -> None:
    """Write `examples/<k>-<id>/{image,label,guidance,prediction}.png`; without guidance there is no `guidance.png`."""
    device, val, colors = model.text.device, material.index.val, material.definition.colors
    chosen = [val[round(k)] for k in np.linspace(0, len(val) - 1, min(6, len(val)))]  # spread over the split
    names, value_range = material.definition.names, how.config.data.value_range
    samples = val_samples(chosen, material.dataset, names, short_side=None, value_range=value_range, workers=0)
    model.eval()
    with writing(run / EXAMPLES), replacing_folder(run / EXAMPLES) as folder:
        for k, (record, image, label) in enumerate(samples):
            example = folder / f"{k}-{re.sub(r'[^A-Za-z0-9._-]+', '_', record.id)}"
            example.mkdir()
            size = (label.shape[0], label.shape[1])
            pixels = how.pixels(image, device)
            with autocast(how.config, device):
                scores = class_scores(model, pixels, how).float()
            save_image(example / "image.png", image)
            save_mask(example / "label.png", label, colors)
            save_mask(example / "prediction.png", classes_at(scores, size)[0].cpu().numpy(), colors)
            if guide is not None:
                probabilities = class_scores(guide.probabilities, pixels, how.averaging())
                confidence, guessed = scores_at(probabilities, size).max(dim=1)
                sure = torch.where(confidence >= how.config.guidance.zeta, guessed, IGNORE).to(torch.uint8)
                save_mask(example / "guidance.png", sure[0].cpu().numpy(), colors)
    model.train()
