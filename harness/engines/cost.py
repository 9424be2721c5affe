"""What a training run costs besides time: operations by torch's counter, energy by the device's own meter.

Owns how both are read; never changes what is trained.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Protocol

import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.backbones import forked_rng, on_meta
from harness.spec.models import Input, TrainingSpec
from methods.method import Batch, Loss, Method, Step

RAPL = Path("/sys/class/powercap")


def step_flops(method: Method, spec: TrainingSpec, input: Input) -> int:
    """Operations of one step, forward and backward (a multiply-add is two): of a copy on the meta device, where tensors
    have shapes and no values, so that counting takes no time and no memory.

    Raises whatever the method raises there: a loss may look at values, or know no such device. The step may be right
    all the same; it only stays uncounted.
    """
    images, sizes = spec.batch_size, [(group.count, group.size or input.size) for group in spec.view_groups]
    views = tuple(torch.empty(count, images, input.channels, size, size, device="meta") for count, size in sizes)
    numbers = torch.zeros(images, dtype=torch.int64, device="meta")
    step = Step(index=0, steps=1, epoch=0, epochs=spec.epochs, generator=torch.Generator().manual_seed(0))
    shadow = on_meta(method).train()
    with forked_rng(), FlopCounterMode(display=False) as counter:
        loss = Loss.of(shadow.loss(Batch(views, labels=numbers, index=numbers), step))
        torch.autograd.backward(loss.total)
    return int(counter.get_total_flops())


class Meter(Protocol):
    """A count of energy that only goes up."""

    def joules(self) -> float: ...


class Rapl:
    """The processor packages' counters, which the kernel lets only some users read."""

    def __init__(self, root: Path) -> None:
        """PermissionError or FileNotFoundError where there is nothing to read."""
        packages = sorted(path for path in root.glob("*-rapl:*") if path.name.count(":") == 1)
        if not packages:
            raise FileNotFoundError(root)
        self._counters = [path / "energy_uj" for path in packages]
        self._ranges = [int((path / "max_energy_range_uj").read_text()) for path in packages]
        self._last = self._read()
        self._total = 0

    def _read(self) -> list[int]:
        return [int(path.read_text()) for path in self._counters]

    def joules(self) -> float:
        """Since this object was made. A counter may wrap around, once between two calls."""
        now = self._read()
        for before, after, full in zip(self._last, now, self._ranges, strict=True):
            self._total += after - before if after >= before else after + full - before
        self._last = now
        return self._total / 1e6


class Nvml:
    """One CUDA device's counter, by NVIDIA's library (the extra `energy`)."""

    def __init__(self, device: torch.device) -> None:
        import pynvml

        self._nvml = pynvml
        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        self._first = self._millijoules()

    def _millijoules(self) -> int:
        return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))

    def joules(self) -> float:
        """Since this object was made."""
        return (self._millijoules() - self._first) / 1e3


def energy_meter(device: torch.device, rapl: Path = RAPL) -> Meter | None:
    """The device's meter; None where it does not tell (no driver, no permission, no library)."""
    if device.type == "cuda":
        with suppress(Exception):  # NVML's own errors are of many kinds, and none of them may stop a training run
            return Nvml(device)
        return None
    with suppress(OSError, ValueError):
        return Rapl(rapl)
    return None
