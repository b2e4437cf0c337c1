"""A model comes back from its checkpoint as it was, also from one that an earlier version wrote."""

import json
import math
import os
import random

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from semivl_cli.engine.rundir.checkpoint import (
    checkpoint_steps,
    damage,
    load_checkpoint,
    load_training,
    save_checkpoint,
)
from semivl_cli.errors import InputError
from semivl_cli.model.build import ModelSpec
from semivl_cli.model.decoders.decoder import DecoderSpec
from semivl_cli.model.pixels import IMAGENET_STATISTICS

from ...model.tiny_vit import TINY_VIT

DECODER = DecoderSpec(
    embed_dim=6,
    skip_channels=(8, 8),
    width=8,
    text_width=8,
    up_widths=(8, 8),
    skip_widths=(4, 4),
    dilations=(1, 2),
    layers=1,
    heads=2,
    pool=2,
)


def keep(run, kind, smallest):
    """Save a fresh model with four classes; returns it."""
    spec = ModelSpec(
        encoder=TINY_VIT,
        decoder=DECODER,
        skips=(0, 1),
        skip_path="block",
        statistics=IMAGENET_STATISTICS,
        output_size=None,
        detail_base=None,
        decoder_kind=kind,
    )
    assert spec.smallest == smallest
    model = spec.build(torch.randn(4, 6))
    save_checkpoint(run, 3, model, spec, torch.optim.AdamW(model.parameters()), "", "", {})
    return model


@pytest.mark.parametrize(("kind", "smallest"), [("language", 5), ("convolutional", 1)])
def test_a_model_comes_back_whole(tmp_path, kind, smallest):
    model = keep(tmp_path, kind, smallest)
    stored = load_checkpoint(tmp_path, 3)
    image = torch.randint(0, 256, (1, 3, smallest, 13), dtype=torch.uint8)
    assert (stored.spec.decoder_kind, stored.spec.smallest) == (kind, smallest)
    assert model(image).shape == (1, 4, smallest, 13)
    assert torch.equal(stored.model(image), model(image))


def test_a_checkpoint_that_knows_no_kinds_of_decoder_has_the_language_guided_one(tmp_path):
    model = keep(tmp_path, "language", 5)
    path = tmp_path / "checkpoints" / "3" / "model.safetensors"
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["semivl"])
    del header["spec"]["decoder_kind"]
    save_file(load_file(path), path, metadata={"semivl": json.dumps(header)})
    stored = load_checkpoint(tmp_path, 3)
    image = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(stored.model(image), model(image))


def reheaded(run, change, metadata=True):
    """Write the header of checkpoint 3 anew: what it says of the model, or the sizes that its tensors claim."""
    path = run / "checkpoints" / "3" / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    said = json.loads(header["__metadata__"]["semivl"])
    change(said if metadata else header)
    header["__metadata__"]["semivl"] = json.dumps(said)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def refused(run):
    with pytest.raises(InputError, match=r"model\.safetensors is damaged.*delete the folder .*3 to take the") as caught:
        load_checkpoint(run, 3)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["language", "convolutional"])
@pytest.mark.parametrize(
    "claim",
    [
        {"encoder": {"width": 10**6}},
        {"encoder": {"width": 10**30}},
        {"encoder": {"layers": 10**9}},
        {"encoder": {"heads": 3}},
        {"encoder": {"grid": [10**6, 10**6]}},
        {"encoder": {"patch_size": 10**6}},
        {"encoder": {"norm_eps": float("nan")}},
        {"decoder": {"width": 10**6}},
        {"decoder": {"pool": 10**6}},
        {"decoder": {"dilations": [10**9, 1]}},
        {"decoder": {"layers": 10**9}},
        {"decoder": {"skip_channels": [8]}},
        {"skips": [0, 9]},
        {"skips": [0]},
        {"skips": "01"},
        {"statistics": [[0.5, 0.5, 0.5], [0, 0, 0]]},
        {"statistics": [[0.5], [0.5]]},
        {"output_size": 10**9},
        {"output_size": -1},
        {"detail_base": 10**6},
        {"decoder_kind": "unheard of"},
        {"surprise": 1},
    ],
)
def test_a_spec_that_does_not_fit_its_weights_is_refused_before_memory_is_taken(tmp_path, kind, claim):
    keep(tmp_path, kind, 5 if kind == "language" else 1)

    def change(said):
        for name, value in claim.items():
            said["spec"][name] = {**said["spec"][name], **value} if isinstance(value, dict) else value

    reheaded(tmp_path, change)
    refused(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda said: said.update(format="semivl-9"), "format: expected 'semivl-1', got 'semivl-9'"),
        (lambda said: said.pop("spec"), "expected an entry with spec"),
        (lambda said: said.update(config=3), "config: expected a string, got 3"),
        (lambda said: said.update(spec=[]), "spec: expected"),
    ],
)
def test_a_header_that_lacks_something_is_refused_with_its_place(tmp_path, change, says):
    keep(tmp_path, "language", 5)
    reheaded(tmp_path, change)
    assert says in refused(tmp_path)


def test_tensors_of_another_kind_or_number_are_refused(tmp_path):
    keep(tmp_path, "language", 5)
    path = tmp_path / "checkpoints" / "3" / "model.safetensors"
    whole = path.read_bytes()
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    for name, change in {
        "decoder.head.bias": lambda tensor: tensor.fill_(math.nan),
        "decoder.head.weight": lambda tensor: tensor.half(),
        "text": lambda tensor: tensor[0],
        "encoder.class_token": lambda tensor: tensor[:-1],
    }.items():
        path.write_bytes(whole)
        tensors = load_file(path)
        save_file({**tensors, name: change(tensors[name].clone()).contiguous()}, path, metadata)
        refused(tmp_path)
    save_file({name: tensor for name, tensor in load_file(path).items() if name != "text"}, path, metadata)
    refused(tmp_path)
    save_file(load_file(path), path)
    refused(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "state.json"])
def test_bytes_that_changed_are_one_line_or_another_state(tmp_path, name):
    model = keep(tmp_path, "language", 5)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 3, 16, 16, dtype=torch.uint8)).sum().backward()
    optimizer.step()
    spec = load_checkpoint(tmp_path, 3).spec
    save_checkpoint(tmp_path, 4, model, spec, optimizer, "", "", {"seconds": 1.5, "last": {}})
    path, rng = tmp_path / "checkpoints" / "4" / name, random.Random(0)
    whole = path.read_bytes()
    for _ in range(60):
        data = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.randrange(1, 4) if data else 0):
            data[rng.randrange(min(len(data), 4000))] = rng.randrange(256)  # where the header is
        path.write_bytes(data)
        assert damage(path.parent) == f"{name} does not hold the bytes that were written" or data == whole
        try:
            load_training(tmp_path, 4, model, optimizer)
        except InputError as error:
            assert "\n" not in str(error)
    path.write_bytes(whole)
    assert load_training(tmp_path, 4, model, optimizer).seconds == 1.5


def test_moments_of_another_training_are_not_taken(tmp_path):
    model = keep(tmp_path, "language", 5)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 3, 16, 16, dtype=torch.uint8)).sum().backward()
    optimizer.step()
    spec = load_checkpoint(tmp_path, 3).spec
    save_checkpoint(tmp_path, 4, model, spec, optimizer, "", "", {"seconds": 1.5})
    path = tmp_path / "checkpoints" / "4" / "training.safetensors"
    moments = load_file(path)
    for wrong in (
        {name: moment for name, moment in moments.items() if name != "exp_avg/decoder.head.bias"},
        {**moments, "exp_avg/decoder.head.weight": torch.zeros(1)},  # which would be copied to every place
    ):
        save_file(wrong, path)
        with pytest.raises(InputError, match=r"absent, unknown or misshapen, such as exp_avg/decoder\.head"):
            load_training(tmp_path, 4, model, optimizer)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"sha256": 3}', b'{"sha256": {"a": 3}}'])
def test_a_damaged_seal_is_damage(tmp_path, content):
    keep(tmp_path, "language", 5)
    folder = tmp_path / "checkpoints" / "3"
    assert damage(folder) is None
    (folder / "done.json").write_bytes(content)
    assert damage(folder) == "done.json is damaged"
    (folder / "done.json").unlink()
    (folder / "done.json").mkdir()
    assert "done.json cannot be read" in damage(folder)


def test_files_and_folders_of_other_names_are_no_checkpoints(tmp_path):
    keep(tmp_path, "language", 5)
    for name in ("1²", "2.part", "12a"):
        (tmp_path / "checkpoints" / name).mkdir()
    assert checkpoint_steps(tmp_path) == [3]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o002])
def test_whoever_may_read_a_run_may_read_its_checkpoints(tmp_path, umask):
    before = os.umask(umask)
    try:
        keep(tmp_path / "run", "language", 5)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert len(modes) == 4 and set(modes.values()) == {0o666 & ~umask}
