"""Which device computes, and how it multiplies."""

from contextlib import nullcontext

import pytest
import torch

from semivl_cli.config import RunConfig
from semivl_cli.engine.device import autocast, is_here, memory_watched, pick_device, widest_float
from semivl_cli.engine.distributed.group import ProcessGroup
from semivl_cli.errors import InputError


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs that are not there, and the precision of this process as it was."""
    before = torch.get_float32_matmul_precision()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:1"])
def test_a_gpu_multiplies_in_tf32_from_the_moment_it_is_picked(gpus, name):
    assert pick_device(name).type == "cuda"
    assert torch.get_float32_matmul_precision() == "high"  # before guidance, which is asked first, computes anything


def test_a_cpu_stays_as_exact_as_it_was(gpus):
    assert pick_device("cpu").type == "cpu"
    assert torch.get_float32_matmul_precision() == "highest"


def test_each_of_many_processes_has_a_gpu_of_its_own(gpus):
    second = ProcessGroup(rank=1, world_size=2, local_rank=1, local_world_size=2)
    assert pick_device("auto", second) == torch.device("cuda", 1)
    assert torch.get_float32_matmul_precision() == "high"
    with pytest.raises(InputError, match="at most as many"):
        pick_device("cuda", ProcessGroup(rank=2, world_size=3, local_rank=2, local_world_size=3))
    with pytest.raises(InputError, match="is one GPU for 2 processes"):
        pick_device("cuda:0", second)


ABSENT = [
    *(
        (name, f"unknown device {name!r}: expected auto, cpu")
        for name in ("gpu", "xpu", "meta", "banana", "cuda:-1", "")
    ),
    *((f"cuda:{number}", "torch sees 2 CUDA devices") for number in (2, 99)),
    ("mps", "torch sees no GPU of Apple's"),
]


@pytest.mark.parametrize(("name", "hint"), ABSENT)
def test_a_device_that_is_not_here_is_one_line(gpus, monkeypatch, name, hint):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert not is_here(name) and is_here("cuda:1")
    with pytest.raises(InputError, match=hint):
        pick_device(name)


@pytest.fixture
def mac(monkeypatch):
    """Apple's GPU and no other, neither of which is there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


def test_a_mac_computes_on_its_gpu_and_many_processes_on_its_cores(mac):
    assert pick_device("auto").type == pick_device("mps").type == "mps"
    second = ProcessGroup(rank=1, world_size=2, local_rank=1, local_world_size=2)
    assert pick_device("auto", second).type == "cpu"
    with pytest.raises(InputError, match="is one GPU for 2 processes"):
        pick_device("mps", second)


def test_a_gpu_of_apple_computes_without_float64(mac):
    mps = pick_device("mps")
    assert widest_float(mps) == torch.float32 and widest_float(torch.device("cpu")) == torch.float64
    assert isinstance(autocast(RunConfig(), mps), nullcontext)


@pytest.mark.parametrize(
    "said",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:75] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("MPS backend out of memory (MPS allocated: 20.48 GiB, other allocations: 146.27 GiB)"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError("Unable to allocate 3.00 GiB for an array"),
    ],
)
def test_every_device_is_out_of_memory_in_the_same_words(said):
    with pytest.raises(torch.OutOfMemoryError), memory_watched():
        raise said
    with pytest.raises(RuntimeError, match="shapes") as other, memory_watched():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert type(other.value) is RuntimeError
