"""Memory that ran out is recognised whoever says so, without torch in the process that asks."""

import errno
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.contract.sources import ROOT
from trellis.runtime import is_out_of_memory

SAYINGS = (
    "CUDA out of memory. Tried to allocate 2.00 GiB.",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 "
    "bytes. Error code 12 (Cannot allocate memory)",
    "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
    "std::bad_alloc",
    "bad allocation",
    "Unable to allocate 1.00 PiB for an array with shape (1125899906842624,) and data type uint8",
    "OpenCV(4.11.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 8 bytes in function "
    "'OutOfMemoryError'",
    "Failed to allocate 8 bytes on device 'cpu'",
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned. Failed to allocate memory for "
    "requested buffer of size 8",
)


@pytest.mark.parametrize("saying", SAYINGS)
def test_what_libraries_say(saying: str) -> None:
    assert is_out_of_memory(RuntimeError(saying))


def test_what_they_raise() -> None:
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(OSError(errno.ENOMEM, ""))
    for allocate in (lambda: torch.empty(1 << 50, dtype=torch.uint8), lambda: np.empty(1 << 50, dtype=np.uint8)):
        with pytest.raises((RuntimeError, MemoryError)) as raised:
            allocate()
        assert is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    "error", [RuntimeError("shape mismatch"), ValueError(), OSError(errno.ENOSPC, "No space left")]
)
def test_what_is_something_else(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_asking_needs_no_torch() -> None:
    code = (
        "import sys; from trellis.app.failures import describe, explain\n"
        f"error = RuntimeError({SAYINGS[2]!r})\n"
        "print(explain(error)[:27], '|', describe(error)['kind'], '|', 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "There was not enough memory | memory | False"
