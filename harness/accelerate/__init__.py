"""What makes a training step fast on a device. Owns the choice of means; the trainer knows none of
them. No module changes its class, its parameters or their names: whoever calls a module runs the module's own code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.accelerate.cpu.memory import keep_freed_memory
from harness.accelerate.cpu.side_by_side import SideBySide
from harness.accelerate.cuda.compiled import CompileMode, compile_encoders
from harness.spec.models import Input, TrainingSpec
from harness.strided_convolutions import guard_strided_convolutions
from methods.method import Method, one_by_one

__all__ = ["CompileMode", "Prepared", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """A method ready to train."""

    method: Method
    """On the device, its weights in channels-last order."""
    encode: Callable[[nn.Module, Tensor], Tensor]
    """(encoder, views (d, N, C, S, S)) -> features (d, N, F), BatchNorm a view at a time: the fastest way to what
    `one_by_one` gives."""


def prepare(
    method: Method,
    training: TrainingSpec,
    input: Input,
    device: torch.device,
    *,
    plain: bool = False,
    compile: CompileMode = "off",
) -> Prepared:
    """Move `method` to the device and find the fastest way to train it there.

    Args:
        input: what the encoder is given.
        plain: by timm's and torch's own code only. The numbers are the same but for rounding.
        compile: whether encoders go through torch.compile; `auto` does on CUDA, unless training is `plain`.
    """
    method = method.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not (plain and compile == "auto"):
        shape = (training.batch_size, input.channels, input.size, input.size)
        compile_encoders(method, shape, training.precision, device, compile)
    if device.type == "cpu" and training.precision != "float32":
        guard_strided_convolutions(method)
    if plain or device.type != "cpu":
        return Prepared(method, one_by_one)
    keep_freed_memory()
    return Prepared(method, SideBySide())
