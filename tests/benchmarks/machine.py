"""The machine that a table is of: its description, and its fastest matrix products, measured on the spot."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from harness.store.digests import SOURCES, code_digest
from harness.store.provenance import versions

SIZES = (2048, 4096, 8192)
MAX_SECONDS = 1.0  # of one product: larger matrices are left out


@dataclass(frozen=True)
class Limits:
    """Floating-point operations of matrix products that the device does in a second; a multiply-add is two."""

    float32: float
    bfloat16: float
    """0 where the device has no such products."""

    @property
    def fast_precision(self) -> str:
        """bfloat16 where its products are faster than float32's, which they are not where they are emulated."""
        return "bfloat16" if self.bfloat16 > self.float32 else "float32"


@dataclass(frozen=True)
class Machine:
    """Where the benchmarks run."""

    device: torch.device
    threads: int
    """Of torch, and workers of the conventional DataLoader."""
    limits: Limits


def available_threads() -> int:
    """As many as OMP_NUM_THREADS says, by default the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(os.environ.get("OMP_NUM_THREADS", cores))


def describe(device: torch.device) -> dict[str, str | int]:
    """What two measurements must have in common to be compared, the measured code included."""
    folders = ("harness", "methods", "tests/benchmarks")
    files = [path for folder in folders for path in (SOURCES / folder).rglob("*.py")]
    processor = _processor()
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor,
        "processor": processor,
        "threads": available_threads(),
        "platform": platform.platform(),
        **versions(),
        "code": code_digest(files, SOURCES),
    }


def _processor() -> str:
    """The CPU's own name, where the system tells it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def measure_limits(device: torch.device) -> Limits:
    """The fastest of several sizes and tries; takes some seconds."""
    emulated = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    return Limits(_flops(device, torch.float32), 0.0 if emulated else _flops(device, torch.bfloat16))


def _flops(device: torch.device, dtype: torch.dtype) -> float:
    from torch.utils.benchmark import Timer  # slow to import

    peak = 0.0
    for size in SIZES:
        if peak and 2 * size**3 / peak > MAX_SECONDS:
            break
        a, b = torch.randn(2, size, size, device=device).to(dtype)
        names = {"a": a, "b": b, "out": torch.empty_like(a)}
        timer = Timer("torch.mm(a, b, out=out)", globals=names, num_threads=torch.get_num_threads())
        peak = max(peak, 2 * size**3 / min(timer.blocked_autorange(min_run_time=MAX_SECONDS).times))
    return peak


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
