"""Which parameters of the encoder train, by the kind of fine-tuning."""

import pytest

from semivl_cli.config import FinetuneSettings
from semivl_cli.errors import InputError
from semivl_cli.model.encoders.dense_vit import DenseEncoder
from semivl_cli.model.finetune import set_trainable

from .tiny_vit import TINY_VIT


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
    encoder = DenseEncoder(TINY_VIT)
    set_trainable(encoder, FinetuneSettings(encoder=kind, attention_norm=attention_norm))
    names = [name.split(".") for name, p in encoder.named_parameters() if p.requires_grad]
    assert {name[2] if name[0] == "blocks" else name[0] for name in names} == moving


def test_an_unknown_kind_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"finetune\.encoder = 'all': expected 'spatial', 'full' or 'frozen'"):
        set_trainable(DenseEncoder(TINY_VIT), FinetuneSettings(encoder="all"))
