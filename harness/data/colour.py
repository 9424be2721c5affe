"""Colour jitter, greyscale and solarise of a batch held as planes, every image with its own factors and order.

Owns the colour formulas; knows nothing of the draws or of cropping. Planes are (C, N, P) float32 with P pixels in
[0, bound]: one contiguous plane per channel, which is what makes each operation a few passes over long vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # torchvision's greyscale weights (ITU-R 601-2, as rounded there)


def luma(planes: Tensor) -> Tensor:
    """Greyscale (N, P) of planes (C, N, P); one channel is its own."""
    if len(planes) == 1:
        return planes[0].clone()
    red, green, blue = planes
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def blend_(planes: Tensor, image: Tensor, grey: Tensor, mean: Tensor, bound: float) -> None:
    """In place: image weight x pixel + grey weight x greyscale + mean weight x mean greyscale, clamped to [0, bound].

    With factor f the weights (image, grey, mean) are (f, 0, 0) for brightness, (f, 0, 1 - f) for contrast and
    (f, 1 - f, 0) for saturation; each weight is (N, 1).
    """
    base = luma(planes)
    average = base.mean(dim=1, keepdim=True).mul_(mean)
    base.mul_(grey).add_(average)
    planes.mul_(image).add_(base).clamp_(0.0, bound)


def rotate_hue_(planes: Tensor, turns: Tensor) -> None:
    """In place: the hue of planes (3, N, P) shifted by `turns` (N, 1) in [-0.5, 0.5], saturation and value kept.

    Equal to the way through HSV, without its cases. With c' = (c - min) / (max - min), the hue, in sixths of a turn
    from red, is 1 + g' + b' - r' towards green if g >= b and towards blue otherwise; and the rotated channels are
    min + (max - min) t with trapezoids t of the new hue x in [0, 6): |x - 3| - 1, 2 - |x - 2| and 2 - |x - 4|, cut to [0, 1].
    """
    red, green, blue = planes
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    chroma = high - low
    sixfold = chroma * 6.0
    hue = (green + blue).sub_(red).sub_(low)
    hue.div_(sixfold.clamp_min(1e-12)).add_(1.0 / 6.0)  # greys have no hue, and any will do
    hue.copysign_(green - blue).add_(turns + 1.0).frac_()  # in turns, [0, 1)
    falling, rising = high + chroma, low - chroma
    for channel, base, centre, sign in ((0, rising, 0.5, 1.0), (1, falling, 1 / 3, -1.0), (2, falling, 2 / 3, -1.0)):
        ramp = torch.addcmul(base, (hue - centre).abs_(), sixfold, value=sign)
        torch.minimum(torch.maximum(ramp, low), high, out=planes[channel])


def greyscale_(planes: Tensor, chosen: Tensor) -> None:
    """In place: the images numbered in `chosen` lose their colour; one channel has none to lose."""
    if len(planes) == 3 and len(chosen):
        grey = luma(planes.index_select(1, chosen))
        planes.index_copy_(1, chosen, grey.expand(3, *grey.shape))


def solarise_(planes: Tensor, chosen: Tensor, threshold: float, bound: float) -> None:
    """In place: pixels at or above `threshold` of the images numbered in `chosen` are inverted."""
    if len(chosen):
        bright = planes.index_select(1, chosen)
        planes.index_copy_(1, chosen, torch.where(bright >= threshold, bound - bright, bright))
