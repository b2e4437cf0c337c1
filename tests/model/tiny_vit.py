"""The shape of a ViT so small that a pass takes less than a millisecond."""

from semivl_cli.model.encoders.dense_vit import EncoderSpec

TINY_VIT = EncoderSpec(
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
