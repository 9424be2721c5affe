"""How the devices and threads of one machine are dealt out to worker processes. Starts none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch

from harness.engines.execution import Execution


class Share(NamedTuple):
    """A slot's part of the machine."""

    execution: Execution
    environment: Mapping[str, str]
    """On top of ours, before any library reads it."""


def shares(workers: int, execution: Execution) -> list[Share]:
    """One a worker. Unless the command names one device, the visible CUDA devices go round; unless it names a number of
    threads, each has its part of what torch would take, for its decoding processes too."""
    device = execution.torch_device()
    threads = execution.threads or max(1, torch.get_num_threads() // workers)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    common = dict.fromkeys(names, str(threads))
    common["OMP_PROC_BIND"] = "false"  # each process would bind its threads to the same first cores
    if device.type == "cpu" or device.index is not None:
        return [Share(replace(execution, threads=threads), common)] * workers
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",")[:count] if visible else [str(index) for index in range(count)]
    own = replace(execution, threads=threads, device="cuda")
    # without its own variable each process would take memory on the first device
    return [Share(own, common | {"CUDA_VISIBLE_DEVICES": devices[number % count]}) for number in range(workers)]
