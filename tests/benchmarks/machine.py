"""The machine that a table is of: its description, and what it can do at most, measured on the spot."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from harness.store.digests import SOURCES, code_digest
from harness.store.provenance import versions

SIZES = (2048, 4096, 8192)
ROUNDS = (3, 20)  # at least and at most, the best of which counts
MAX_SECONDS = 1.0  # of one matrix product (larger matrices are left out), and of all its rounds
COPY_BYTES = {"cpu": 256 * 2**20, "cuda": 2**30}


@dataclass(frozen=True)
class Limits:
    """The most that the device does in a second."""

    float32_flops: float
    """Floating-point operations of float32 matrix products; a multiply-add is two."""
    bfloat16_flops: float
    """The same in bfloat16; 0 where the device has no such products."""
    bandwidth_bytes: float
    """Read and written by a large copy."""

    @property
    def fast_precision(self) -> str:
        """bfloat16 where its products are faster than float32's, which they are not where they are emulated."""
        return "bfloat16" if self.bfloat16_flops > self.float32_flops else "float32"

    def least_seconds(self, flops: float, moved_bytes: float, precision: str) -> tuple[float, str]:
        """That such work takes, and which limit sets it; 0 and "" for work that is not counted."""
        peak = self.bfloat16_flops if precision == "bfloat16" else 0.0
        return max((flops / (peak or self.float32_flops), precision), (moved_bytes / self.bandwidth_bytes, "bandwidth"))


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


def describe(device: torch.device, threads: int) -> dict[str, str | int]:
    """What two measurements must have in common to be compared, the measured code included."""
    folders = ("harness", "methods", "tests/benchmarks")
    files = [path for folder in folders for path in (SOURCES / folder).rglob("*.py")]
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "processor": _processor(),
        "threads": threads,
        "platform": platform.platform(),
        **versions(),
        "code": code_digest(files, SOURCES),
    }


def _processor() -> str:
    """The CPU's own name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def measure_limits(device: torch.device) -> Limits:
    """Each the best of several tries; takes some seconds."""
    emulated = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    return Limits(
        float32_flops=_matrix_flops(device, torch.float32),
        bfloat16_flops=0.0 if emulated else _matrix_flops(device, torch.bfloat16),
        bandwidth_bytes=_copy_bandwidth(device),
    )


def _matrix_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Of the fastest product of two n x n matrices, n of SIZES."""
    peak = 0.0
    for size in SIZES:
        if peak and 2 * size**3 / peak > MAX_SECONDS:
            break
        a, b = torch.randn(2, size, size, device=device).to(dtype)
        out = torch.empty_like(a)
        seconds = _best_seconds(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), device)
        peak = max(peak, 2 * size**3 / seconds)
    return peak


def _copy_bandwidth(device: torch.device) -> float:
    source = torch.ones(COPY_BYTES[device.type] // 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _best_seconds(lambda: target.copy_(source), device)


def _best_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of several rounds, after one that is not counted."""
    least, most = ROUNDS
    rounds: list[float] = []
    while len(rounds) <= least or (len(rounds) <= most and sum(rounds) < MAX_SECONDS):
        began = time.perf_counter()
        work()
        synchronise(device)
        rounds.append(time.perf_counter() - began)
    return min(rounds[1:])


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
