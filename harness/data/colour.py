"""Colour jitter, greyscale and solarise of a batch, every image with its own factors. Owns the colour formulas.

Images are (n, C + 1, P) float32: C planes of P pixels in [0, bound] and a plane of ones, by which each blend, its
constant included, is one small matrix product an image. All functions work in place; scratch is the caller's, who keeps
it in the caches. Never draws, crops or looks at a dataset.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # torchvision's greyscale weights (ITU-R 601-2, as rounded there)
SIXTH = 1.0 / 6.0  # of a turn: the width of a linear piece of the hue circle


def luma(channels: int, device: torch.device | None = None) -> Tensor:
    """Weights (C,) of the greyscale; a single channel is its own."""
    return torch.tensor(LUMA if channels == 3 else (1.0,), device=device)


def blend_(
    images: Tensor, matrices: Tensor, mean_weight: Tensor, averaging: Tensor, scratch: Tensor, bound: float
) -> None:
    """Brightness, contrast or saturation: factor x pixel + (1 - factor) x base, clamped to [0, bound].

    The base is black for brightness, the pixel's grey for saturation, and the image's mean grey for contrast.

    Args:
        images: (n, C + 1, P).
        matrices: (n, C, C + 1); the last column is filled in here.
        mean_weight: (n, 1) weight of the mean grey: 1 - factor for contrast, else 0.
        averaging: (C, C) matrix from an image's sums by channel to its mean grey, the same in every column.
        scratch: (n, C, P).
        bound: 1 or 255.
    """
    colours = images[:, :-1]
    torch.mul(colours.sum(2) @ averaging, mean_weight, out=matrices[:, :, -1])
    torch.bmm(matrices, images, out=scratch)
    torch.clamp(scratch, 0.0, bound, out=colours)


def rotate_hue_(images: Tensor, sixths: Tensor, scratch: Tensor, planes: Tensor) -> None:
    """Hue shifted by `sixths` of a turn, each in [-1, 1]; saturation and value kept.

    Equal to the way through HSV, without division or cases. Let low, mid and high be a pixel's sorted channels. A
    channel c with neighbours p before it and n after it on the circle (red, green, blue) is, as a function of the hue,
    the trapezoid clamp(2 c - mid, low, high), whose flanks change by high - low in a sixth of a turn: with the shift
    where p > n, against it elsewhere. A shift of up to a sixth of a turn passes from one flank to the other only where
    the clamp holds, so

        c' = clamp(2 c - mid + shift (high - low) sign(p - n), low, high).

    Args:
        images: (n, 4, P).
        sixths: (n, 1, 1).
        scratch: (n, 3, P).
        planes: (4, n, P), scratch as well.
    """
    colours = images[:, :3]
    red, green, blue = colours.unbind(1)
    high, low, chroma, mid = planes
    torch.maximum(red, green, out=high)
    torch.minimum(red, green, out=low)
    torch.minimum(high, blue, out=mid)
    torch.maximum(high, blue, out=high)
    torch.maximum(mid, low, out=mid)
    torch.minimum(low, blue, out=low)
    torch.sub(high, low, out=chroma)
    mid.neg_()
    side_red, side_green, side_blue = scratch.unbind(1)
    torch.sub(blue, green, out=side_red)
    torch.sub(red, blue, out=side_green)
    torch.sub(green, red, out=side_blue)
    scratch.sign_()
    chroma.mul_(sixths[:, 0])
    torch.add(mid[:, None], colours, alpha=2.0, out=colours).addcmul_(scratch, chroma[:, None])
    torch.clamp(colours, low[:, None], high[:, None], out=colours)


def roll_channels_(images: Tensor, sources: Tensor) -> None:
    """Hue shifted by thirds of a turn: channel c of image i becomes channel `sources[i, c]` of it; images (n, C + 1,
    P)."""
    index = sources[:, :, None].expand(-1, -1, images.shape[2])
    images[:, :-1] = images.gather(1, index)


def greyscale_(images: Tensor, chosen: Tensor) -> None:
    """The images numbered in `chosen` lose their colour; a single channel has none to lose. Images (n, C + 1, P)."""
    if images.shape[1] == 4 and len(chosen):
        coloured = images.index_select(0, chosen)
        red, green, blue, _ = coloured.unbind(1)
        grey = (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
        coloured[:, :3] = grey[:, None]
        images.index_copy_(0, chosen, coloured)


def solarise_(views: Tensor, chosen: Tensor, threshold: float, bound: float) -> None:
    """Pixels at or above `threshold` of the views numbered in `chosen` are inverted. Views (C, n, S, S)."""
    if len(chosen):
        bright = views.index_select(1, chosen)
        views.index_copy_(1, chosen, torch.where(bright >= threshold, bound - bright, bright))
