"""Random views of whole batches as tensors: every image with its own parameters, on the device its pixels are on.

Owns the order of the pipeline (colour jitter on the full image, greyscale, resized crop, flip, blur, solarise, normalise: the W-MSE
paper's released code). What is random is drawn in `draw.py`; the formulas are in `colour.py`, `resize.py` and `blur.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.data.blur import blur
from harness.data.colour import blend_, greyscale_, rotate_hue_, solarise_
from harness.data.draw import Drawn, draw
from harness.data.plan import Chunk, chunks
from harness.data.resize import crop_weights, separable

__all__ = ["Drawn", "augment", "draw"]

WHITE = 255.0  # pixels stay in [0, 255] until they are normalised, which saves a pass over them
CPU_CHUNK_FLOATS = 400_000  # a chunk's planes and temporaries stay in the cores' caches
CUDA_CHUNK_FLOATS = 256_000_000  # 1 GiB a buffer


def augment(
    pixels: Tensor,
    drawn: Drawn,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    out: Tensor | None = None,
) -> Tensor:
    """One view of each image.

    Args:
        pixels: (N, H, W, C) uint8 with C = 1 or 3, on any device.
        drawn: parameters of N images of H x W pixels; kept on the CPU, from where what is needed is moved.
        size: side of the view in pixels.
        mean: per channel, subtracted from pixels in [0, 1].
        std: per channel, divided by.
        out: (N, C, size, size) float32 on the pixels' device to write to; a new tensor if None.

    Returns:
        (N, C, size, size) float32 on the pixels' device.

    With one channel, brightness and contrast act and saturation, hue and greyscale do nothing, as in torchvision. Values are
    clamped to [0, 1] after every blend and after the bicubic filter, as they are in an 8-bit image.
    """
    _check(pixels, drawn, size, mean, std)
    images, height, width, channels = pixels.shape
    if out is None:
        out = torch.empty(images, channels, size, size, device=pixels.device)
    floats = CPU_CHUNK_FLOATS if pixels.device.type == "cpu" else CUDA_CHUNK_FLOATS
    boxes = torch.stack((drawn.top, drawn.left, drawn.crop_height, drawn.crop_width)).to(pixels.device)
    flip = None if drawn.flip is None else drawn.flip.to(pixels.device)
    sigma = None if drawn.blur_sigma is None else drawn.blur_sigma.to(pixels.device)
    chunk_images = max(1, floats // (channels * max(height * width, size * size)))
    for chunk in chunks(drawn, channels, chunk_images, pixels.device):
        chosen = pixels.index_select(0, chunk.images)
        planes = chosen.permute(3, 0, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        colour(planes.flatten(2), chunk, WHITE)
        top, left, tall, wide = boxes[:, chunk.images]
        mirrored = None if flip is None else flip[chunk.images]
        rows = crop_weights(top, tall, height, size)
        columns = crop_weights(left, wide, width, size, mirrored)
        view = separable(planes, rows, columns).clamp_(0.0, WHITE)
        if chunk.blurred is not None and sigma is not None and len(chunk.blurred):
            soft = blur(view.index_select(1, chunk.blurred), sigma[chunk.images[chunk.blurred]], drawn.blur_radius)
            view.index_copy_(1, chunk.blurred, soft)
        if chunk.solarised is not None:
            solarise_(view, chunk.solarised, drawn.solarise_threshold * WHITE, WHITE)
        for plane, centre, spread in zip(view, mean, std, strict=True):
            plane.sub_(WHITE * centre).div_(WHITE * spread)
        out.index_copy_(0, chunk.images, view.transpose(0, 1))
    return out


def colour(planes: Tensor, chunk: Chunk, bound: float) -> None:
    """In place: colour jitter and greyscale of planes (C, n, P) in [0, bound], in a chunk's order."""

    def blends(ranges: tuple[slice, ...]) -> None:
        for j, images in enumerate(ranges):
            if images.start < images.stop:
                image, grey, average = chunk.weights[3 * j : 3 * j + 3, images]
                blend_(planes[:, images], image, grey, average, bound)

    blends(chunk.before)
    if chunk.hue.stop > 0:
        rotate_hue_(planes[:, chunk.hue], chunk.weights[-1, chunk.hue])
    blends(chunk.after)
    if chunk.grey is not None:
        greyscale_(planes, chunk.grey)


def _check(pixels: Tensor, drawn: Drawn, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
    if pixels.dtype != torch.uint8:
        raise ValueError(f"pixels must be uint8 in [0, 255], not {pixels.dtype}: pass the images as they were packed")
    if pixels.ndim != 4:
        raise ValueError(f"pixels must be (N, H, W, C), not of shape {tuple(pixels.shape)}")
    images, height, width, channels = pixels.shape
    if channels not in (1, 3):
        raise ValueError(f"pixels must have 1 or 3 channels in their last dimension, not {channels}")
    if (len(drawn), drawn.height, drawn.width) != (images, height, width):
        raise ValueError(
            f"parameters were drawn for {len(drawn)} images of {drawn.height} x {drawn.width} pixels, "
            f"but there are {images} of {height} x {width}: draw them for these"
        )
    if size < 1:
        raise ValueError(f"the view's side must be at least 1 pixel, not {size}")
    if len(mean) != channels or len(std) != channels:
        raise ValueError(
            f"{channels} channels need as many means and standard deviations, not {len(mean)} and {len(std)}"
        )
