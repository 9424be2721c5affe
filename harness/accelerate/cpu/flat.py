"""Activations in channels-last order: pixel by pixel, the channels of each together. Owns how a tensor becomes the flat
array that compiled loops run over."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Activations = npt.NDArray[Any]
"""bfloat16 as its bits in uint16, float32 as it is."""


def is_flat(x: Tensor) -> bool:
    """Whether (N, C, H, W) or (N, C) lies in memory without gaps in this order."""
    return _by_pixel(x).is_contiguous()


def as_flat(x: Tensor) -> Tensor:
    """x, or a copy in this order."""
    return x.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.contiguous_format)


def memory(x: Tensor) -> Activations:
    """Of a flat tensor, as one dimension."""
    values = _by_pixel(x.detach()).view(-1)
    array: npt.NDArray[np.generic] = (values.view(torch.uint16) if x.dtype == torch.bfloat16 else values).numpy()
    return array


def _by_pixel(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x
