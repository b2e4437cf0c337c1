"""What is left of main memory, and which errors say that none is."""

import sys

import pytest

from semivl_cli.engine.device_memory import free_memory, is_out_of_memory
from semivl_cli.errors import InputError


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_free_memory_is_less_than_all_and_more_than_nothing():
    assert 2**20 < free_memory() < 2**50


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 40000000000 bytes."), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (Exception("OpenCV error: (-4:Insufficient memory) Failed to allocate 30000000000 bytes"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (InputError("a.png: no such file"), False),
    ],
)
def test_errors_that_say_that_memory_is_full_are_known(error, full):
    assert is_out_of_memory(error) == full
