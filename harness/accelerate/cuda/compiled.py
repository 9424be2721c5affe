"""torch.compile for the encoders of a training run, where it pays and works. Owns when, and the way back.

Compiled code computes the same formulas with other rounding; without it a run is only slower, so what cannot be
compiled runs as it is, with a warning. Parameters, names and checkpoints are untouched.
"""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from torch import nn

from harness.accelerate.precision import autocast
from harness.spec.models import Precision
from methods.method import Method

CompileMode = Literal["auto", "on", "off"]


class CompileWarning(RuntimeWarning):
    """An encoder runs without torch.compile."""


def compile_encoders(
    method: Method, shape: tuple[int, ...], precision: Precision, device: torch.device, mode: CompileMode
) -> bool:
    """Compile every encoder of `method` in place, and try each on one view before it is relied on.

    Args:
        shape: of one view's batch, (N, C, S, S).
        mode: `auto` compiles on CUDA, where launches and memory passes dominate, and not on a CPU, where it was
            measured to bring nothing.

    Returns:
        Whether they are compiled.
    """
    if mode == "off" or (mode == "auto" and device.type != "cuda"):
        return False
    encoders = [module for module in (method.encoder, getattr(method, "target_encoder", None)) if module is not None]
    try:
        for encoder in encoders:
            encoder.compile(dynamic=False)
            _try(encoder, shape, precision, device)
    except Exception as error:  # a missing compiler, an operation it does not know: each backend has errors of its own
        for encoder in encoders:
            encoder._compiled_call_impl = None
        reason = str(error).strip().splitlines() or [type(error).__name__]
        warnings.warn(
            f"torch.compile does not work here, so the encoders run without it: the same results, more slowly on CUDA "
            f"({reason[0]}). `--compile off` says that you know",
            CompileWarning,
            stacklevel=2,
        )
        return False
    return True


def _try(encoder: nn.Module, shape: tuple[int, ...], precision: Precision, device: torch.device) -> None:
    """One forward and backward pass, after which weights, buffers and gradients are as before."""
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    images = torch.zeros(shape, device=device).contiguous(memory_format=torch.channels_last)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        with autocast(precision, device):
            output = encoder(images)
        if output.requires_grad:
            output.float().sum().backward()
    encoder.zero_grad()
    encoder.load_state_dict(state)
