"""Which encoder parameters train: spatial fine-tuning moves attention and position embedding alone (Sec. 3.3)."""

from __future__ import annotations

from semivl_cli.config import FinetuneSettings
from semivl_cli.model.encoders.dense_vit import DenseEncoder
from semivl_cli.settings_toml import pick


def spatial(encoder: DenseEncoder, settings: FinetuneSettings) -> None:
    """Train the layers that let patches interact, and the position embedding; the MLPs keep CLIP's semantics."""
    for name, parameter in encoder.named_parameters():
        norm = settings.attention_norm and ".norm1." in name
        parameter.requires_grad_(".attention." in name or name == "position_embedding" or norm)


def full(encoder: DenseEncoder, settings: FinetuneSettings) -> None:
    """Train everything."""
    encoder.requires_grad_(True)


def frozen(encoder: DenseEncoder, settings: FinetuneSettings) -> None:
    """Train nothing."""
    encoder.requires_grad_(False)


FINE_TUNING = {
    "spatial": spatial,
    "full": full,
    "frozen": frozen,
}
"""What `finetune.encoder` names; each says which parameters of the encoder train."""


def set_trainable(encoder: DenseEncoder, settings: FinetuneSettings) -> None:
    """Freeze what does not train; raises `InputError` for a kind that there is not."""
    pick(FINE_TUNING, "finetune.encoder", settings.encoder)(encoder, settings)
