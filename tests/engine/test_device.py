"""Which device computes, and how it multiplies."""

import pytest
import torch

from semivl_cli.engine.device import pick_device
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


@pytest.mark.parametrize(("name", "hint"), [("gpu", "unknown device 'gpu'"), ("cuda:7", "torch sees 2 CUDA devices")])
def test_a_device_that_is_not_here_is_one_line(gpus, name, hint):
    with pytest.raises(InputError, match=hint):
        pick_device(name)
