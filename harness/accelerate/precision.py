"""Mixed precision as it is asked for: autocast and, for float16, the gradient scaler. Owns what a device can do."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from harness.spec.models import Precision


class PrecisionError(ValueError):
    """The device lacks the asked precision."""


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that the device can only emulate or not run at all.

    Raises:
        PrecisionError: naming the device, and what to write instead.
    """
    if precision == "float32":
        return
    on_cuda = device.type == "cuda"
    if on_cuda and precision == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name(device)
        raise PrecisionError(f"precision: {name} has no bfloat16 arithmetic; write `precision: float16` or `float32`")
    if not on_cuda and precision == "float16" and not torch.ops.mkldnn._is_mkldnn_fp16_supported():
        raise PrecisionError("precision: this CPU has no float16 arithmetic; write `precision: bfloat16` or `float32`")


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """The autocast context of encoder and heads; whitening and losses leave it themselves."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


def gradient_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """A loss scaler, at work for float16 only."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
