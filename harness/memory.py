"""The most memory that a stretch of work needed. Owns how a device and the C library are asked; never decides what is
measured.

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


def give_back_freed_memory() -> None:
    """Give all of it back now. Does nothing without GNU's library."""
    trim = of_gnu_c("malloc_trim")
    if trim is not None:
        trim(0)


def of_gnu_c(name: str) -> Callable[..., int] | None:
    """A function of GNU's C library; None without that library."""
    function: Callable[..., int] | None = None
    if sys.platform.startswith("linux"):
        function = getattr(ctypes.CDLL(None), name, None)
    return function
