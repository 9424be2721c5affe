"""Random views of whole batches, every image with its own parameters, made on the device that its pixels are on.

Owns the one call and the check of its input. On a CPU compiled loops make the views (`fused.py`), elsewhere tensor
operations (`tensors.py`), in one order and by one set of formulas. Never draws: that is `draw.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.data.draw import Drawn, draw
from harness.data.tensors import augment_tensors

__all__ = ["Drawn", "augment", "draw"]


def augment(
    pixels: Tensor,
    drawn: Drawn,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    rows: Tensor | None = None,
) -> Tensor:
    """One view for each of the N drawn sets of parameters.

    Args:
        pixels: (images, H, W, C) uint8 with C = 1 or 3, on any device; may be read-only.
        drawn: N parameters of images of H x W pixels, on the CPU, from where what is needed is moved.
        size: side of the view in pixels.
        mean: per channel, subtracted from pixels in [0, 1].
        std: per channel, divided by.
        rows: (N,) int64 on the CPU, the image that each view is of, so that no image need be copied to be chosen or
            repeated; None where there are N images and each has one view.

    Returns:
        (N, C, size, size) float32 on the pixels' device, its memory in channels-last order.

    With one channel, brightness and contrast act and saturation, hue and greyscale do nothing, as in torchvision.
    Values are clamped to [0, 1] after every blend and after the bicubic filter, as they are in an 8-bit image, but
    never rounded. Raises ValueError where pixels and parameters do not fit.
    """
    _check(pixels, drawn, size, mean, std, rows)
    if pixels.device.type == "cpu":
        from harness.data.fused import augment_fused  # a second to load: only for those who use it

        return augment_fused(pixels, rows, drawn, size, mean, std)
    return augment_tensors(pixels, rows, drawn, size, mean, std)


def _check(
    pixels: Tensor, drawn: Drawn, size: int, mean: Sequence[float], std: Sequence[float], rows: Tensor | None
) -> None:
    if pixels.dtype != torch.uint8:
        raise ValueError(f"pixels must be uint8 in [0, 255], not {pixels.dtype}: pass the images as they were packed")
    if pixels.ndim != 4:
        raise ValueError(f"pixels must be (N, H, W, C), not of shape {tuple(pixels.shape)}")
    images, height, width, channels = pixels.shape
    if channels not in (1, 3):
        raise ValueError(f"pixels must have 1 or 3 channels in their last dimension, not {channels}")
    views = images if rows is None else len(rows)
    if (len(drawn), drawn.height, drawn.width) != (views, height, width):
        raise ValueError(
            f"parameters were drawn for {len(drawn)} images of {drawn.height} x {drawn.width} pixels, "
            f"but there are {views} of {height} x {width}: draw them for these"
        )
    if rows is not None and (rows.dtype != torch.int64 or int(rows.min()) < 0 or int(rows.max()) >= images):
        raise ValueError(
            f"rows must be int64 from 0 to {images - 1}, the numbers of the images, "
            f"not {rows.dtype} from {rows.min()} to {rows.max()}"
        )
    if size < 1:
        raise ValueError(f"the view's side must be at least 1 pixel, not {size}")
    if len(mean) != channels or len(std) != channels:
        raise ValueError(
            f"{channels} channels need as many means and standard deviations, not {len(mean)} and {len(std)}"
        )
