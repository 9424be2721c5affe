"""Resized crop and flip of a whole batch, every image with its own box, as two small matrix products an image.

Owns the bicubic weights; knows nothing of colour or of how boxes are drawn.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def crop_weights(start: Tensor, length: Tensor, full: int, size: int, flip: Tensor | None = None) -> Tensor:
    """Antialiased bicubic weights that resize each image's crop along one axis, and mirror it where `flip` is set.

    The filter is the cubic convolution with a = -0.5, widened by the scale when shrinking: what Pillow does, and torchvision
    with `antialias=True`. Pixels outside the crop have no weight, and each row sums to one.

    Args:
        start: (N,) first pixel of the crop.
        length: (N,) pixels in the crop, with 1 <= length and start + length <= full.
        full: pixels along the axis of the images.
        size: pixels along the axis of the result.
        flip: (N,) bool, or None where no image is mirrored.

    Returns:
        (N, size, full) float32, rows for the result, columns for the image's pixels.
    """
    device = start.device
    first, crop = start.view(-1, 1, 1).float(), length.view(-1, 1, 1).float()
    scale = crop / size
    widening = scale.clamp_min(1.0)  # a filter narrower than a pixel would skip pixels
    target = torch.arange(size, dtype=torch.float32, device=device).view(1, -1, 1)
    if flip is not None:
        target = torch.where(flip.view(-1, 1, 1), size - 1 - target, target)
    centre = first + (target + 0.5) * scale  # (N, size, 1), in pixels of the image
    taps = min(full, 2 * math.ceil(2 * max(1.0, full / size)) + 1)
    window = (centre - 2 * widening + 0.5).floor_().clamp_(0, full - taps)
    pixel = window + torch.arange(taps, dtype=torch.float32, device=device)  # (N, size, taps)
    weight = _cubic(((pixel + 0.5 - centre) / widening).abs_())
    weight *= (pixel >= first) & (pixel < first + crop)
    weight /= weight.sum(dim=2, keepdim=True)
    dense = torch.zeros(len(start), size, full, device=device)
    return dense.scatter_(2, pixel.long(), weight)


def _cubic(distance: Tensor) -> Tensor:
    """The cubic convolution kernel with a = -0.5 (Keys 1981, equation 15) at distances >= 0; zero from two pixels on."""
    near = distance.clamp(max=1.0)  # both polynomials vanish at 1, the outer one at 2 as well: their sum is the kernel
    far = distance.clamp(1.0, 2.0)
    inner = near.mul(1.5).sub_(2.5).mul_(near).mul_(near).add_(1.0)
    outer = far.mul(-0.5).add_(2.5).mul_(far).sub_(4.0).mul_(far).add_(2.0)
    return inner.add_(outer)


def separable(planes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows @ plane @ columns^T for every plane, with each image's own matrices.

    Args:
        planes: (C, N, H, W).
        rows: (N, S, H).
        columns: (N, S, W).

    Returns:
        (C, N, S, S).
    """
    across = columns.transpose(1, 2)
    return torch.stack([torch.bmm(rows, torch.bmm(plane, across)) for plane in planes])
