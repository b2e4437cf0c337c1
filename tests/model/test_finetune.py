"""Which parameters of the encoder train, by the kind of fine-tuning."""

import pytest

from semivl_cli.config import FinetuneSettings
from semivl_cli.errors import InputError
from semivl_cli.model.encoders.dense_vit import DenseEncoder, EncoderSpec
from semivl_cli.model.finetune import set_trainable

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


@pytest.mark.parametrize(
    ("kind", "attention_norm", "moving"),
    [
        ("spatial", False, {"attention", "position_embedding"}),
        ("spatial", True, {"attention", "position_embedding", "norm1"}),
        ("frozen", True, set()),
        (
            "full",
            False,
            {"attention", "position_embedding", "class_token", "norm1", "norm2", "mlp"}
            | {"patch_embedding", "pre_norm", "post_norm", "projection"},
        ),
    ],
)
def test_fine_tuning_moves(kind, attention_norm, moving):
    encoder = DenseEncoder(SPEC)
    set_trainable(encoder, FinetuneSettings(encoder=kind, attention_norm=attention_norm))
    names = [name.split(".") for name, p in encoder.named_parameters() if p.requires_grad]
    assert {name[2] if name[0] == "blocks" else name[0] for name in names} == moving


def test_an_unknown_kind_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"finetune\.encoder = 'all': expected 'spatial', 'full' or 'frozen'"):
        set_trainable(DenseEncoder(SPEC), FinetuneSettings(encoder="all"))
