"""Colour jitter, greyscale and solarise of a batch, every image with its own factors. Owns the colour formulas.

Images are (n, C, P) float32: C planes of P pixels in [0, bound]. All functions work in place. Never draws, crops or
looks at a dataset.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # torchvision's greyscale weights (ITU-R 601-2, as rounded there)
SIXTH = 1.0 / 6.0  # of a turn: the width of a linear piece of the hue circle


def luma(channels: int) -> Tensor:
    """Weights (C,) of the greyscale; a single channel is its own."""
    return torch.tensor(LUMA if channels == 3 else (1.0,))


def blend_(images: Tensor, matrices: Tensor, mean_weight: Tensor, grey: Tensor, bound: float) -> None:
    """Brightness, contrast or saturation: factor x pixel + (1 - factor) x base, clamped to [0, bound].

    The base is black for brightness, the pixel's grey for saturation, and the image's mean grey for contrast.

    Args:
        images: (n, C, P).
        matrices: (n, C, C) of each pixel's channels.
        mean_weight: (n,) weight of the mean grey: 1 - factor for contrast, else 0.
        grey: (C,) the weights of the greyscale, on the images' device.
        bound: 1 or 255.
    """
    constant = (images.mean(2) @ grey) * mean_weight
    torch.clamp(torch.baddbmm(constant[:, None, None], matrices, images), 0.0, bound, out=images)


def rotate_hue_(images: Tensor, sixths: Tensor) -> None:
    """Hue shifted by `sixths` (n,) of a turn, each in [-1, 1]; saturation and value kept. Images (n, 3, P).

    Equal to the way through HSV, without division or cases. Let low, mid and high be a pixel's sorted channels. A
    channel c with neighbours p before it and n after it on the circle (red, green, blue) is, as a function of the hue,
    the trapezoid clamp(2 c - mid, low, high), whose flanks change by high - low in a sixth of a turn: with the shift
    where p > n, against it elsewhere. A shift of up to a sixth of a turn passes from one flank to the other only where
    the clamp holds, so

        c' = clamp(2 c - mid + shift (high - low) sign(p - n), low, high).
    """
    red, green, blue = images.unbind(1)
    most, least = torch.maximum(red, green), torch.minimum(red, green)
    high, low = torch.maximum(most, blue), torch.minimum(least, blue)
    mid = torch.maximum(torch.minimum(most, blue), least)
    flank = (high - low).mul_(sixths[:, None])
    shift = torch.stack((blue - green, red - blue, green - red), dim=1).sign_().mul_(flank[:, None])
    torch.clamp(shift.add_(images, alpha=2.0).sub_(mid[:, None]), low[:, None], high[:, None], out=images)


def roll_channels_(images: Tensor, sources: Tensor) -> None:
    """Hue shifted by thirds of a turn: channel c of image i becomes channel `sources[i, c]` of it; images (n, 3, P)."""
    images.copy_(images.gather(1, sources[:, :, None].expand_as(images)))


def greyscale_(images: Tensor, chosen: Tensor) -> None:
    """The images numbered in `chosen` lose their colour; a single channel has none to lose. Images (n, C, P)."""
    if images.shape[1] == 3 and len(chosen):
        red, green, blue = images.index_select(0, chosen).unbind(1)
        grey = (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
        images.index_copy_(0, chosen, grey[:, None].expand(-1, 3, -1))


def solarise_(views: Tensor, chosen: Tensor, threshold: float, bound: float) -> None:
    """Pixels at or above `threshold` of the views numbered in `chosen` are inverted. Views (C, n, S, S)."""
    if len(chosen):
        bright = views.index_select(1, chosen)
        views.index_copy_(1, chosen, torch.where(bright >= threshold, bound - bright, bright))
