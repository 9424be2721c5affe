"""Resized crop and flip of a batch, every image with its own box: two small matrix products an image.

Owns the bicubic weights; knows nothing of colour or of how boxes are drawn.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

# The largest table of weights that is kept; small images fit, whose weights repeat all the time.
TABLE_BYTES = 16 * 2**20


def crop_weights(start: Tensor, length: Tensor, full: int, size: int, flip: Tensor | None = None) -> Tensor:
    """Antialiased bicubic weights that resize each image's crop along one axis, and mirror it where `flip` is set.

    The filter is the cubic convolution with a = -0.5, widened by the scale when shrinking: what Pillow does, and
    torchvision with `antialias=True`. Pixels outside the crop have no weight, and the weights of each pixel of the
    result sum to one.

    Args:
        start: (N,) int64, first pixel of the crop.
        length: (N,) int64, pixels in the crop, with 1 <= length and start + length <= full.
        full: pixels along the axis of the images.
        size: pixels along the axis of the result.
        flip: (N,) bool, or None where no image is mirrored.

    Returns:
        (N, full, size) float32, to be multiplied from the right.
    """
    boxes = full * (full + 1) // 2
    if 2 * boxes * size * full * 4 > TABLE_BYTES:
        return _weights(start, length, full, size, flip)
    # Boxes are numbered by length, then by start; the mirrored ones follow.
    before = (length - 1) * (2 * full + 2 - length) // 2
    row = before + start if flip is None else before + start + boxes * flip
    return _table(full, size, start.device).index_select(0, row).view(-1, full, size)


@cache
def _table(full: int, size: int, device: torch.device) -> Tensor:
    """Weights of every box within `full` pixels, then of every box mirrored: (full (full + 1), full x size)."""
    length = torch.cat([torch.full((full + 1 - n,), n) for n in range(1, full + 1)]).to(device)
    start = torch.cat([torch.arange(full + 1 - n) for n in range(1, full + 1)]).to(device)
    upright = _weights(start, length, full, size, None)
    return torch.cat((upright, upright.flip(2))).flatten(1)


def _weights(start: Tensor, length: Tensor, full: int, size: int, flip: Tensor | None) -> Tensor:
    """As `crop_weights`, computed for the pixels that the filter can reach, with N x size as the long inner
    dimension."""
    device = start.device
    first, crop = start[:, None].double(), length[:, None].double()  # float32 would lose a weight's last three digits
    scale = crop / size
    widening = scale.clamp_min(1.0)  # a filter narrower than a pixel would skip pixels
    target = torch.arange(size, dtype=torch.float64, device=device).expand(len(start), size)
    if flip is not None:
        target = torch.where(flip[:, None], size - 1 - target, target)
    centre = first + (target + 0.5) * scale  # (N, size), in pixels of the image
    taps = min(full, 2 * math.ceil(2 * max(1.0, full / size)) + 1)
    window = (centre - 2 * widening + 0.5).floor_().clamp_(0, full - taps)
    tap = torch.arange(taps, dtype=torch.float32, device=device)[:, None, None]
    pixel = window.float() + tap  # (taps, N, size)
    weight = _cubic((tap + (window + 0.5 - centre).float()).div_(widening.float()).abs_())
    weight *= ((pixel >= first) & (pixel < first + crop)).float()
    weight /= weight.sum(dim=0)
    dense = torch.zeros(len(start), full, size, device=device)
    return dense.scatter_(1, pixel.long().transpose(0, 1), weight.transpose(0, 1))


def _cubic(distance: Tensor) -> Tensor:
    """The cubic convolution kernel with a = -0.5 (Keys 1981) at distances >= 0; zero from two pixels on."""
    near = distance.clamp(max=1.0)  # both polynomials vanish at 1, the outer one at 2 as well: their sum is the kernel
    far = distance.clamp(1.0, 2.0)
    inner = near.mul(1.5).sub_(2.5).mul_(near).mul_(near).add_(1.0)
    outer = far.mul(-0.5).add_(2.5).mul_(far).sub_(4.0).mul_(far).add_(2.0)
    return inner.add_(outer)
