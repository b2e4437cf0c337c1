"""Files of tensors: whole ones come back, whatever wraps them; all others are one line, and nothing is executed."""

import os
import pickle
import random
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save, save_file

from semivl_cli.errors import InputError
from semivl_cli.model.tensor_files import read_header, read_safetensors, read_state, write_safetensors

STATE = {"visual.proj": torch.eye(3), "logit_scale": torch.tensor(4.6)}


def refused(path, read=read_state):
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < 500
    return message


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "model.clip."])
def test_prefixes_of_wrappers_come_off(tmp_path, suffix, prefix):
    path, state = tmp_path / f"a{suffix}", {prefix + name: tensor for name, tensor in STATE.items()}
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    assert read_state(path).tensors.keys() == STATE.keys()


def test_a_part_that_was_compiled_loses_its_prefix_in_the_middle(tmp_path):
    torch.save({"visual._orig_mod.proj": torch.eye(3), "logit_scale": torch.tensor(1.0)}, tmp_path / "a.pth")
    assert read_state(tmp_path / "a.pth").tensors.keys() == STATE.keys()


@pytest.mark.parametrize(
    "loaded",
    [
        {"state_dict": STATE, "epoch": 3, "optimizer": {"state": {}}},
        {"model": STATE, "ema": STATE},
        {"anything": STATE, "step": 7},
    ],
)
def test_the_weights_are_found_in_what_a_training_saved(tmp_path, loaded):
    torch.save(loaded, tmp_path / "a.pth")
    assert torch.equal(read_state(tmp_path / "a.pth").tensors["visual.proj"], torch.eye(3))


@pytest.mark.parametrize(
    ("loaded", "says"),
    [
        ([1, 2], "an object of type list"),
        ({"epoch": 3, "lr": 0.1}, "a table of 2, and no tensors under 'epoch', 'lr'"),
        ({}, "a table of 0"),
        ({"a": STATE, "b": STATE}, "no tensors under 'a', 'b'"),
        ({**STATE, "epoch": 3}, "no tensors under 'epoch'"),
        ({"a": torch.tensor([1.0, torch.nan])}, "not finite"),
        ({"a": torch.zeros(2, dtype=torch.float8_e4m3fn)}, "no plain tensor"),
        ({"a": torch.eye(3).to_sparse()}, "no plain tensor"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "no plain tensor"),
        ({"a": torch.zeros(1).expand(10**6, 10**6)}, "does not hold so much"),
        ({"a": torch.empty(3, device="meta")}, "a.pth"),
    ],
)
def test_what_holds_something_else_is_refused(tmp_path, loaded, says):
    torch.save(loaded, tmp_path / "a.pth")
    assert says in refused(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"<!doctype html><title>404</title>", "neither an archive nor a pickle"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "neither an archive nor a pickle"),
        (b"PK\x03\x04 cut off", "damaged"),
        (b"\x80\x02cut off", "not plain tensors"),
    ],
)
def test_what_is_no_file_of_torch_is_refused(tmp_path, content, says):
    (tmp_path / "best.pth").write_bytes(content)
    assert says in refused(tmp_path / "best.pth")
    (tmp_path / "best.safetensors").write_bytes(content)
    assert "damaged" in refused(tmp_path / "best.safetensors")
    assert "damaged" in refused(tmp_path / "best.safetensors", read_header)


def test_folders_and_nothing_are_refused(tmp_path):
    for name in ("none.pth", "none.safetensors"):
        assert "no such file" in refused(tmp_path / name)
        (tmp_path / f"folder-{name}").mkdir()
        refused(tmp_path / f"folder-{name}")


class Evil:
    """Would leave a mark if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("pack", [torch.save, lambda found, path: path.write_bytes(pickle.dumps(found))])
def test_nothing_is_executed_and_the_culprit_is_named(tmp_path, pack):
    pack({"state_dict": Evil(tmp_path / "mark")}, tmp_path / "evil.pth")
    assert "not executed" in refused(tmp_path / "evil.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    assert "torch.nn.modules.linear.Linear" in refused(tmp_path / "module.pth")
    assert not (tmp_path / "mark").exists()


def test_an_archive_that_unpacks_to_far_more_is_not_unpacked(tmp_path):
    torch.save(STATE, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data/9", bytes(10 << 20))
    assert "claims" in refused(tmp_path / "a.pth")


@pytest.mark.parametrize("length", [0, 7, 10**9, 10**18, 2**64 - 1])
def test_a_header_of_another_length_than_it_claims_is_refused(tmp_path, length):
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", length) + save(STATE)[8:])
    refused(tmp_path / "a.safetensors", read_safetensors)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_bytes_are_read_or_refused(tmp_path, suffix):
    path, rng = tmp_path / f"a{suffix}", random.Random(0)
    (save_file if suffix == ".safetensors" else torch.save)(STATE, path)
    whole = path.read_bytes()
    for _ in range(300):
        damaged = bytearray(whole[: rng.randrange(1, len(whole) + 1)] if rng.random() < 0.3 else whole)
        for _ in range(rng.randrange(4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            read_state(path)
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_a_written_file_has_the_permissions_of_any_other(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_safetensors(tmp_path / "a.safetensors", STATE, {"semivl": "{}"})
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask
    found = read_header(tmp_path / "a.safetensors")
    assert found.metadata == {"semivl": "{}"} and found.shapes == {"visual.proj": (3, 3), "logit_scale": ()}
