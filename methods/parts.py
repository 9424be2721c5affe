"""Modules and small functions the methods share: projector and predictor networks, the scope of their batch statistics,
momentum copies. Owns no loss and no settings."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from methods.composition import OutputNorm, Scope

M = TypeVar("M", bound=nn.Module)


def mlp(
    sizes: Sequence[int],
    *,
    batch_norm: bool = True,
    bias: bool = True,
    output_norm: OutputNorm = "none",
    output_bias: bool = True,
) -> nn.Sequential:
    """Linear layers through `sizes`, each but the last followed by [BatchNorm] ReLU; torch's own initialisation.

    Args:
        batch_norm: affine BatchNorm1d after every hidden layer.
        bias: of the hidden linear layers.
        output_norm: BatchNorm1d on the output, with or without scale and shift.
    """
    layers: list[nn.Module] = []
    for wide, narrow in itertools.pairwise(sizes[:-1]):
        layers.append(nn.Linear(wide, narrow, bias=bias))
        if batch_norm:
            layers.append(nn.BatchNorm1d(narrow))
        layers.append(nn.ReLU(inplace=True))
    layers.append(nn.Linear(sizes[-2], sizes[-1], bias=output_bias))
    if output_norm != "none":
        layers.append(nn.BatchNorm1d(sizes[-1], affine=output_norm == "affine"))
    return nn.Sequential(*layers)


def over_views(module: nn.Module, x: Tensor, scope: Scope) -> Tensor:
    """`module` on (..., d, N, F): one call with the rows of all views, or one call a view.

    The scope is that of the batch statistics inside. Leading dimensions (slicing iterations) always share a call.
    """
    if isinstance(module, nn.Identity):
        return x
    if scope == "all_views":
        return _rows_through(module, x)
    return torch.stack([_rows_through(module, view) for view in x.unbind(-3)], dim=-3)


def _rows_through(module: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = module(x.flatten(0, -2))
    return y.view(*x.shape[:-1], -1)


def momentum_copy(module: M) -> M:
    """The module once more, with parameters that no gradient and no optimiser moves."""
    return copy.deepcopy(module).requires_grad_(False)


def cosine_momentum(base: float, progress: float) -> float:
    """tau = 1 - (1 - base) (cos(pi progress) + 1) / 2: from `base` at progress 0 to 1 at progress 1 (BYOL, section
    3.2)."""
    return 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2


def move_towards(targets: Sequence[Tensor], onlines: Sequence[Tensor], momentum: float) -> None:
    """target = momentum target + (1 - momentum) online, all in one multi-tensor call."""
    torch._foreach_lerp_(list(targets), list(onlines), 1 - momentum)
