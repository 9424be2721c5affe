"""The most memory that a stretch of work needed, and what the C library keeps of what is freed. Owns how a device and
that library are asked; never decides what is measured.

On Linux the kernel's own high-water mark of the resident set is set back, so that a second cell in one process is not
charged with the first one's memory.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

RESET_HIGH_WATER_MARK = "5"  # see proc(5), clear_refs
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # see mallopt(3)
KEPT_BYTES = 1 << 30  # of free memory at the end of a heap
HEAP_BYTES = 64 << 20  # of a thread's heap, of which it has several: an empty one is kept if the padding is larger
LARGE_BYTES = (64 << 20, 32 << 20)  # what is taken from no heap, but from the system; older versions allow the second


def reset_peak(device: torch.device) -> None:
    """Begin anew: `peak_bytes` then counts from here, without what was freed before. Does nothing where the system
    cannot."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    give_back_freed_memory()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(RESET_HIGH_WATER_MARK)


def peak_bytes(device: torch.device) -> int | None:
    """CUDA: the most that tensors took on the device since `reset_peak`. CPU: the process's largest resident set since
    then, what it held before included; None where the system does not say (other than Linux)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return None if line is None else int(line.split()[1]) * 1024  # the kernel says kB and means KiB


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next allocation, and not give it back to the system at once: each
    page that it gets anew is a fault, which costs more than filling it. Does nothing without GNU's library."""
    mallopt = _of_gnu_c("mallopt")
    if mallopt is None:
        return
    any(mallopt(M_MMAP_THRESHOLD, size) for size in LARGE_BYTES)
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(M_TOP_PAD, 2 * HEAP_BYTES)


def give_back_freed_memory() -> None:
    """Give all of it back now. Does nothing without GNU's library."""
    trim = _of_gnu_c("malloc_trim")
    if trim is not None:
        trim(0)


def _of_gnu_c(name: str) -> Callable[..., int] | None:
    function: Callable[..., int] | None = None
    if sys.platform.startswith("linux"):
        function = getattr(ctypes.CDLL(None), name, None)
    return function
