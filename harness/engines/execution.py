"""Where and how tasks run: what is recorded but never part of an identity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # a worker reads its job before torch is imported
    import torch


class DeviceError(ValueError):
    """A device that is not there."""


@dataclass(frozen=True)
class Execution:
    """One command's choices."""

    data_dir: Path
    device: str = "auto"
    """`auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:1`."""
    threads: int | None = None
    """Threads of torch on the CPU; None leaves torch's choice."""
    checkpoint_seconds: float = 120.0
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether encoders go through torch.compile; `auto` does on CUDA."""
    plain: bool = False
    """Whether training does without `harness/accelerate/`: slower, for comparison."""
    keep_encoders: bool = True
    """Whether encoders stay on the disk once all that was asked of them is answered."""
    curves_of_finished: bool = False
    """Whether a finished pretraining that lacks a wanted monitor's curve is trained again for it."""

    def torch_device(self) -> torch.device:
        """The device itself.

        Raises:
            DeviceError: no such device on this machine.
        """
        import torch

        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
        except RuntimeError as error:
            raise DeviceError(f"--device {self.device}: no such device; write cpu, cuda or cuda:1") from error
        if device.type not in ("cpu", "cuda"):
            raise DeviceError(f"--device {self.device}: only cpu and cuda devices are supported")
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise DeviceError(
                f"--device {self.device}: this machine has {torch.cuda.device_count()} CUDA devices that torch can use"
            )
        return device

    def device_name(self) -> str:
        """The device as provenance names it, such as "cpu" or "cuda: NVIDIA H100 80GB HBM3"."""
        import torch

        device = self.torch_device()
        return f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "cpu"
