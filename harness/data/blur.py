"""Gaussian blur of a batch, every image with its own standard deviation. Owns the kernels; never draws."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def gaussian_kernels(sigma: Tensor, radius: int) -> Tensor:
    """Kernels (N, 2 radius + 1) of standard deviations `sigma` (N,): the Gaussian at whole pixels, summing to one."""
    offset = torch.arange(-radius, radius + 1, dtype=torch.float32, device=sigma.device)
    return torch.softmax(-0.5 * (offset / sigma.view(-1, 1)).square(), dim=1)


def blur(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Images (C, N, H, W) blurred along both axes, borders reflected (torchvision's gaussian_blur).

    Args:
        images: (C, N, H, W).
        sigma: (N,) standard deviations in pixels.
        radius: taps on either side; cut to what a reflected border can supply, one less than the side.
    """
    for axis in (2, 3):
        images = _along(images, sigma, min(radius, images.shape[axis] - 1), axis)
    return images


def _along(images: Tensor, sigma: Tensor, radius: int, axis: int) -> Tensor:
    """One pass: a weighted sum of shifted copies, cheaper than a grouped convolution."""
    side = images.shape[axis]
    kernel = gaussian_kernels(sigma, radius).view(-1, 2 * radius + 1, 1, 1)
    border = (radius, radius, 0, 0) if axis == 3 else (0, 0, radius, radius)
    padded = functional.pad(images, border, mode="reflect")
    total = padded.narrow(axis, radius, side) * kernel[:, radius]
    for tap in range(radius):  # the kernel is even: both sides share a weight
        both = padded.narrow(axis, tap, side) + padded.narrow(axis, 2 * radius - tap, side)
        total.addcmul_(both, kernel[:, tap])
    return total
