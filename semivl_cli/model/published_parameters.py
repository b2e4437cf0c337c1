"""Parameter names of the published checkpoints (google-research/semivl), translated to ours and back."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

# Published name, our name; `*` stands for a number, `weight` or `bias`, the same on both sides.
_BLOCK = (
    ("ln1.*", "norm1.*"),
    ("ln2.*", "norm2.*"),
    ("attn.attn.in_proj_weight", "attention.in_proj_weight"),
    ("attn.attn.in_proj_bias", "attention.in_proj_bias"),
    ("attn.attn.out_proj.*", "attention.out_proj.*"),
    ("ffn.layers.0.0.*", "mlp.fc1.*"),
    ("ffn.layers.1.*", "mlp.fc2.*"),
)
_ENCODER = (
    ("cls_token", "class_token"),
    ("pos_embed", "position_embedding"),
    ("patch_embed.projection.weight", "patch_embedding.weight"),
    ("ln0.*", "pre_norm.*"),
    ("ln1.*", "post_norm.*"),
    ("proj.weight", "projection.weight"),
    *((f"layers.*.{theirs}", f"blocks.*.{ours}") for theirs, ours in _BLOCK),
)
_DECODER = (
    ("conv1.*", "embed.*"),
    ("aspp.aspp_convs.4.gap.1.*", "spatial.pooled.0.*"),
    ("aspp.aspp_convs.4.gap.2.*", "spatial.pooled.1.*"),
    ("aspp.aspp_convs.*.*.*", "spatial.branches.*.*.*"),
    ("aspp.project.0.weight", "spatial.project.weight"),
    ("aspp.project.1.*", "spatial.project_norm.*"),
    ("text_proj.0.*", "text.0.*"),
    *((f"layers.*.transformer.{theirs}", f"semantic.*.transformer.{ours}") for theirs, ours in _BLOCK),
    ("skip_proj.0.0.*", "skip_later.0.*"),
    ("skip_proj.1.0.*", "skip_earlier.0.*"),
    ("up*.up.*", "up*.up.*"),
    ("up*.conv.0.weight", "up*.conv1.weight"),
    ("up*.conv.1.*", "up*.norm1.*"),
    ("up*.conv.3.weight", "up*.conv2.0.weight"),
    ("up*.conv.4.*", "up*.conv2.1.*"),
    ("head.*", "head.*"),
)
_DETAIL = tuple((name, name) for name in ("stem.*.*", "layer1.*.*.*", "layer1.*.downsample.*.*"))
_NAMES = tuple(
    (f"{their_part}.{theirs}", f"{our_part}.{ours}")
    for their_part, our_part, names in (
        ("backbone", "encoder", _ENCODER),  # fine-tuned
        ("clip_encoder", "guidance.encoder", _ENCODER),  # frozen
        ("decode_head", "decoder", _DECODER),
        ("conv_encoder", "detail", _DETAIL),
    )
    for theirs, ours in names
)


def our_name(published: str) -> str | None:
    """Translate a parameter name (`backbone.layers.0.ln1.weight` -> `encoder.blocks.0.norm1.weight`).

    Names of the frozen encoder begin with `guidance.encoder`. `None` for a name that no published model has.
    """
    return _translate(published, _NAMES)


def published_name(ours: str) -> str | None:
    """Translate a name of ours back; `None` for a tensor that published checkpoints do not hold."""
    return _translate(ours, tuple((mine, theirs) for theirs, mine in _NAMES))


def our_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate a whole published state dict; raises `KeyError` with a name that no published model has."""
    state = {}
    for theirs, tensor in published.items():
        name = our_name(theirs)
        if name is None:
            raise KeyError(theirs)
        state[name] = _reshaped(name, tensor)
    return state


def _reshaped(name: str, tensor: Tensor) -> Tensor:
    """Drop the axes of length 1 that the published code keeps: batch of tokens, 1x1 convolution."""
    if name.endswith("class_token"):
        return tensor.flatten()
    if name.endswith("position_embedding") and tensor.ndim > 1:
        return tensor.flatten(0, -2)
    return tensor.flatten(1) if name.endswith("projection.weight") and tensor.ndim > 1 else tensor


def _translate(name: str, pairs: tuple[tuple[str, str], ...]) -> str | None:
    for source, target in pairs:
        match = re.fullmatch(re.escape(source).replace(r"\*", r"(\w+)"), name)
        if match:
            return target.replace("*", "{}").format(*match.groups())
    return None
