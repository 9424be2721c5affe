"""The machine that a table is of: its device, threads and libraries, in words. Owns the description's keys."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from harness.bench.limits import measured_limits
from harness.bench.row import Machine
from harness.store.provenance import git_state, utc_now, versions


def this_machine(device: torch.device, threads: int | None) -> Machine:
    """With so many threads of torch (None: its choice) and its limits measured; takes some seconds."""
    if threads is not None:
        torch.set_num_threads(threads)
    return Machine(device, torch.get_num_threads(), threads or _cores(), measured_limits(device))


def described(machine: Machine, seconds: float) -> dict[str, str | int | float | bool | None]:
    """What a reader of the table must know; `seconds` are a row's."""
    commit, dirty = git_state()
    return {
        "device": _device_name(machine.device),
        "processor": _processor(),
        "cores": _cores(),
        "threads": machine.threads,
        "dataloader_workers": machine.workers,
        **versions(),
        "platform": platform.platform(),
        "commit": commit,
        "dirty": dirty,
        "when": utc_now(),
        "seconds_per_row": seconds,
        "float32_flops": machine.limits.float32_flops,
        "bfloat16_flops": machine.limits.bfloat16_flops,
        "bandwidth_bytes": machine.limits.bandwidth,
        "fast_precision": machine.limits.fast_precision,
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


def _processor() -> str:
    """The CPU's own name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
