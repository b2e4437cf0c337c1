"""The dense encoder: CLIP's own embedding, the value path, positions and padding."""

from dataclasses import replace

import open_clip
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.model.clip import build_encoder, load_clip
from semivl_cli.model.encoders.dense_vit import DenseEncoder, resize_positions

TEXT = {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}
VISION = {"image_size": 16, "patch_size": 4, "width": 16, "head_width": 8, "layers": 3}


def config(**vision):
    quick_gelu = vision.pop("quick_gelu", False)
    return {"embed_dim": 12, "quick_gelu": quick_gelu, "vision_cfg": {**VISION, **vision}, "text_cfg": TEXT}


def random_clip(tmp_path, **vision):
    """open_clip's model with random weights, biases and norms, and ours from its file."""
    torch.manual_seed(0)
    theirs = open_clip.CLIP(**config(**vision)).eval()
    for parameter in theirs.visual.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    path = tmp_path / "clip.bin"
    torch.save(theirs.state_dict(), path)
    return theirs, load_clip(config(**vision), str(path))


def encoder_of(clip, skips=(), skip_path="value"):
    """The dense encoder with the CLIP's own shape and weights."""
    encoder = DenseEncoder(clip.spec, skips, skip_path)
    encoder.load_state_dict(clip.state)
    return encoder


@pytest.fixture(scope="module")
def clip():
    return load_clip(config(), "random")


@pytest.mark.parametrize(
    "vision",
    [
        {},
        {"quick_gelu": True},
        {"no_ln_pre": True},
        {"ls_init_value": 0.5},
        {"pool_type": "avg"},
        {"pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True, "ls_init_value": 0.3},
        {"image_size": [12, 20], "mlp_ratio": 2.0, "width": 24},
        {"act_kwargs": {"approximate": "tanh"}, "norm_kwargs": {"eps": 1e-3}},
    ],
    ids=str,
)
def test_image_embeddings_are_open_clips_own(tmp_path, vision):
    theirs, ours = random_clip(tmp_path, **vision)
    size = vision.get("image_size", 16)
    image = torch.randn(2, 3, *(size if isinstance(size, list) else (size, size)))
    encoder = encoder_of(ours)
    with torch.no_grad():
        expected = theirs.encode_image(image, normalize=True)
        assert torch.allclose(encoder.embed_image(image), expected, atol=1e-5)


def test_dense_vectors_are_the_last_value_path_and_skips_those_of_their_blocks(tmp_path):
    theirs, ours = random_clip(tmp_path)
    image = torch.randn(2, 3, 16, 16)
    visual, before, values = theirs.visual, [], []
    for block in visual.transformer.resblocks:
        block.register_forward_pre_hook(lambda module, args: before.append(args[0].detach()))
    with torch.no_grad():
        visual(image)
        for block, x in zip(visual.transformer.resblocks, before, strict=True):
            _, _, v = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)
            v = x + block.attn.out_proj(v)
            values.append((v + block.mlp(block.ln_2(v)))[:, 1:])
        dense = F.normalize(visual.ln_post(values[-1]) @ visual.proj, dim=-1)
        by_value = encoder_of(ours, skips=(0, 2))(image)
        by_block = encoder_of(ours, skips=(0, 1), skip_path="block")(image)

    def as_map(tokens):
        return tokens.transpose(1, 2).reshape(2, -1, 4, 4)

    assert torch.allclose(by_value.dense, as_map(dense), atol=1e-5)
    for skip, expected in zip(by_value.skips, (values[0], values[2]), strict=True):
        assert torch.allclose(skip, as_map(expected), atol=1e-5)
    for skip, expected in zip(by_block.skips, (before[1], before[2]), strict=True):
        assert torch.allclose(skip, as_map(expected[:, 1:]), atol=1e-5)


def test_sides_that_are_no_multiple_of_the_patch_are_padded_with_zeros_at_the_end(clip):
    encoder = encoder_of(clip, skips=(0,))
    image = torch.randn(1, 3, 13, 18)
    padded = torch.zeros(1, 3, 16, 20)
    padded[:, :, :13, :18] = image
    with torch.no_grad():
        ours, expected = encoder(image), encoder(padded)
    assert ours.dense.shape == (1, 12, 4, 5)
    assert torch.equal(ours.dense, expected.dense) and torch.equal(ours.skips[0], expected.skips[0])


def test_dense_vectors_have_unit_length(clip):
    dense = encoder_of(clip)(torch.randn(2, 3, 24, 16)).dense
    assert torch.allclose(dense.norm(dim=1), torch.ones(2, 6, 4), atol=1e-6)


sides = st.integers(1, 9)


@settings(max_examples=40, deadline=None)
@given(stored=st.tuples(sides, sides), wanted=st.tuples(sides, sides))
def test_resized_positions_keep_the_class_entry_constants_and_symmetry(stored, wanted):
    rows, columns = stored
    rng = torch.Generator().manual_seed(0)
    positions = torch.randn(1 + rows * columns, 5, generator=rng)
    positions[1:, 0] = 3.0  # bicubic weights add up to one
    resized = resize_positions(positions, stored, wanted)
    assert resized.shape == (1 + wanted[0] * wanted[1], 5)
    assert torch.equal(resized[0], positions[0])
    assert torch.allclose(resized[1:, 0], torch.full((len(resized) - 1,), 3.0), atol=1e-5)
    turned = torch.cat([positions[:1], positions[1:].flip(0)])  # the grid turned by 180 degrees
    assert torch.allclose(resize_positions(turned, stored, wanted)[1:], resized[1:].flip(0), atol=1e-5)


def test_positions_of_the_stored_grid_are_untouched_and_the_axes_are_not_swapped():
    positions = torch.zeros(1 + 2 * 6, 1)
    positions[1:7] = 1.0  # the upper row
    assert resize_positions(positions, (2, 6), (2, 6)) is positions
    grid = resize_positions(positions, (2, 6), (4, 6))[1:].view(4, 6)
    assert (grid[:2] > 0.5).all() and (grid[2:] < 0.5).all()
    assert torch.allclose(grid, grid[:, :1].expand(4, 6), atol=1e-6)


def test_a_stored_image_size_resizes_the_positions_once(clip):
    encoder = build_encoder(clip, replace(clip.spec, grid=(8, 8)))
    assert encoder.position_embedding.shape == (65, 16)
    expected = resize_positions(clip.state["position_embedding"], (4, 4), (8, 8))
    assert torch.equal(encoder.position_embedding, expected)
