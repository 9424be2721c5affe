"""The precision losses are computed in: float32 or better, whatever the autocast around them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


def at_least_float32(x: Tensor) -> Tensor:
    """Half-precision tensors widened to float32; others as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def without_autocast(device: torch.device) -> AbstractContextManager[None]:
    """A context in which operations keep their inputs' precision."""
    if device.type == "meta":  # tensors without values, by which operations are counted; autocast does not know them
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def full_precision(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """The function of tensors, in float32 or better whatever their type and the autocast around it."""

    @functools.wraps(function)
    def widened(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        given = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        wide = {id(a): at_least_float32(a) for a in given}  # the same tensor given twice stays one tensor
        with without_autocast(given[0].device):
            return function(
                *(wide.get(id(a), a) for a in args),  # type: ignore[arg-type]
                **{k: wide.get(id(a), a) for k, a in kwargs.items()},  # type: ignore[arg-type]
            )

    return widened
