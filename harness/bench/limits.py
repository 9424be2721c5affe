"""What the device can do at most, measured on the spot: matrix products and a large copy. Owns how it is measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from harness.bench.row import Limits

SIZES = (2048, 4096, 8192)
ROUNDS = 20  # at most, the best of which counts
LEAST_ROUNDS = 3
LONGEST_SECONDS = 1.0  # one product, larger matrices are left out where they would take longer; and all its rounds
COPY_BYTES = {"cpu": 256 * 2**20, "cuda": 2**30}


def measured_limits(device: torch.device, sizes: tuple[int, ...] = SIZES, rounds: int = ROUNDS) -> Limits:
    """The matrix-multiply peaks in float32 and bfloat16 and the memory bandwidth, each the best of several tries."""
    return Limits(
        float32_flops=matrix_peak(device, torch.float32, sizes, rounds),
        bfloat16_flops=_bfloat16_peak(device, sizes, rounds),
        bandwidth=copy_bandwidth(device, COPY_BYTES[device.type], rounds),
    )


def matrix_peak(device: torch.device, dtype: torch.dtype, sizes: tuple[int, ...], rounds: int) -> float:
    """Floating-point operations a second of the best product of two n x n matrices, n of `sizes`, ascending."""
    peak = 0.0
    for size in sizes:
        if peak and 2 * size**3 / peak > LONGEST_SECONDS:
            break
        a, b = torch.randn(2, size, size, device=device).to(dtype)
        out = torch.empty_like(a)
        seconds = best_seconds(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), device, rounds)  # type: ignore[misc]
        peak = max(peak, 2 * size**3 / seconds)
    return peak


def _bfloat16_peak(device: torch.device, sizes: tuple[int, ...], rounds: int) -> float | None:
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return None
    try:
        return matrix_peak(device, torch.bfloat16, sizes, rounds)
    except RuntimeError:  # a build of torch without such products
        return None


def copy_bandwidth(device: torch.device, size: int, rounds: int) -> float:
    """Bytes a second, read and written, of copying `size` bytes."""
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    return 2 * size / best_seconds(lambda: target.copy_(source), device, rounds)


def best_seconds(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """The least of several timings, after one that is not counted; long work is timed less often."""
    found: list[float] = []
    while len(found) <= LEAST_ROUNDS or (len(found) <= rounds and sum(found) < LONGEST_SECONDS):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - began)
    return min(found[1:])
