"""Which encoder parameters train: spatial fine-tuning moves attention and position embedding alone (Sec. 3.3)."""

from __future__ import annotations

from typing import Literal

from semivl_cli.model.encoders.dense_vit import DenseEncoder

FineTuning = Literal["spatial", "full", "frozen"]


def set_trainable(encoder: DenseEncoder, mode: FineTuning, attention_norm: bool) -> None:
    """Freeze what does not train.

    Args:
        encoder: the encoder that training fine-tunes.
        mode: `spatial`: the layers that let patches interact, and the position embedding; the MLPs keep CLIP's
            semantics. `full`: everything. `frozen`: nothing.
        attention_norm: whether `spatial` also trains the norm in front of the attention.
    """
    for name, parameter in encoder.named_parameters():
        spatial = ".attention." in name or name == "position_embedding" or (attention_norm and ".norm1." in name)
        parameter.requires_grad_(mode == "full" or (mode == "spatial" and spatial))
