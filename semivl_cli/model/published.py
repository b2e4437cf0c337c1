"""Parameter names of the published checkpoints (google-research/semivl), translated to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

# Published name -> our name, tried in this order; `{i}` stands for a number.
_RULES: tuple[tuple[str, str], ...] = (
    # Encoders: `backbone.*` is fine-tuned, `clip_encoder.*` frozen.
    (r"(backbone|clip_encoder)\.cls_token", r"\1.class_token"),
    (r"(backbone|clip_encoder)\.pos_embed", r"\1.position_embedding"),
    (r"(backbone|clip_encoder)\.patch_embed\.projection\.weight", r"\1.patch_embedding.weight"),
    (r"(backbone|clip_encoder)\.ln0\.(\w+)", r"\1.pre_norm.\2"),
    (r"(backbone|clip_encoder)\.ln1\.(\w+)", r"\1.post_norm.\2"),
    (r"(backbone|clip_encoder)\.proj\.weight", r"\1.projection.weight"),
    (r"(backbone|clip_encoder)\.layers\.(\d+)\.(.+)", r"\1.blocks.\2.<block>\3"),
    # Decoder.
    (r"decode_head\.conv1\.(\w+)", r"decoder.embed.\1"),
    (r"decode_head\.aspp\.aspp_convs\.4\.gap\.([12])\.(\w+)", r"decoder.spatial.pooled.<gap>\1.\2"),
    (r"decode_head\.aspp\.aspp_convs\.(\d+)\.([01])\.(\w+)", r"decoder.spatial.branches.\1.\2.\3"),
    (r"decode_head\.aspp\.project\.0\.weight", r"decoder.spatial.project.weight"),
    (r"decode_head\.aspp\.project\.1\.(\w+)", r"decoder.spatial.project_norm.\1"),
    (r"decode_head\.text_proj\.0\.(\w+)", r"decoder.text.0.\1"),
    (r"decode_head\.layers\.(\d+)\.transformer\.(.+)", r"decoder.semantic.\1.transformer.<block>\2"),
    (r"decode_head\.skip_proj\.0\.0\.(\w+)", r"decoder.skip_later.0.\1"),
    (r"decode_head\.skip_proj\.1\.0\.(\w+)", r"decoder.skip_earlier.0.\1"),
    (r"decode_head\.up([12])\.up\.(\w+)", r"decoder.up\1.up.\2"),
    (r"decode_head\.up([12])\.conv\.0\.weight", r"decoder.up\1.conv1.weight"),
    (r"decode_head\.up([12])\.conv\.1\.(\w+)", r"decoder.up\1.norm1.\2"),
    (r"decode_head\.up([12])\.conv\.3\.weight", r"decoder.up\1.conv2.0.weight"),
    (r"decode_head\.up([12])\.conv\.4\.(\w+)", r"decoder.up\1.conv2.1.\2"),
    (r"decode_head\.head\.(\w+)", r"decoder.head.\1"),
    # Convolutional detail encoder.
    (r"conv_encoder\.(.+)", r"detail.\1"),
)

_BLOCK_RULES: tuple[tuple[str, str], ...] = (
    (r"ln([12])\.(\w+)", r"norm\1.\2"),
    (r"attn\.attn\.(.+)", r"attention.\1"),
    (r"ffn\.layers\.0\.0\.(\w+)", r"mlp.fc1.\1"),
    (r"ffn\.layers\.1\.(\w+)", r"mlp.fc2.\1"),
)


def our_name(published: str) -> str | None:
    """Translate a parameter name (`backbone.layers.0.ln1.weight` -> `encoder.blocks.0.norm1.weight`).

    Names of the frozen encoder begin with `guidance.encoder`. `None` for a name that no published model has.
    """
    name = _first(_RULES, published)
    if name is None:
        return None
    if "<block>" in name:
        head, tail = name.split("<block>")
        inner = _first(_BLOCK_RULES, tail)
        if inner is None:
            return None
        name = head + inner
    if "<gap>" in name:
        head, tail = name.split("<gap>")
        name = head + str(int(tail[0]) - 1) + tail[1:]
    return name.replace("clip_encoder.", "guidance.encoder.", 1).replace("backbone.", "encoder.", 1)


def our_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate a whole published state dict; raises `KeyError` with a name that no published model has."""
    state = {}
    for published_name, tensor in published.items():
        name = our_name(published_name)
        if name is None:
            raise KeyError(published_name)
        if name.endswith(("class_token", "position_embedding")):
            tensor = tensor.reshape(tensor.shape[-2:]) if tensor.shape[1] > 1 else tensor.reshape(-1)  # noqa: PLW2901
        elif name.endswith("projection.weight"):
            tensor = tensor.flatten(1)  # noqa: PLW2901 - a 1x1 convolution
        state[name] = tensor
    return state


def _first(rules: tuple[tuple[str, str], ...], name: str) -> str | None:
    for pattern, replacement in rules:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement)
    return None
