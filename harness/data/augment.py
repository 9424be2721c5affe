"""Random views of whole batches as tensors: every image with its own parameters, on the device its pixels are on.

Owns the order of the pipeline: colour jitter on the full image, greyscale, resized crop, flip, blur, solarise,
normalise (the W-MSE paper's released code). Never draws: that is `draw.py`; the formulas are in `colour.py`,
`resize.py`, `blur.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.data.blur import blur
from harness.data.colour import blend_, greyscale_, luma, roll_channels_, rotate_hue_, solarise_
from harness.data.draw import Drawn, draw
from harness.data.plan import Part, parts
from harness.data.resize import crop_weights

__all__ = ["Drawn", "augment", "draw"]

WHITE = 255.0  # pixels stay in [0, 255] until they are normalised, which saves a pass over them
CPU_PART_FLOATS = 400_000  # a part of the batch and its scratch stay in the cores' caches
CUDA_PART_FLOATS = 256_000_000  # 1 GiB a buffer


@dataclass(frozen=True)
class Scratch:
    """Flat buffers that every part of a batch reuses: fresh memory would cost more than the arithmetic."""

    images: Tensor
    other: Tensor
    third: Tensor

    @staticmethod
    def of(images: int, channels: int, height: int, width: int, size: int, device: torch.device) -> Scratch:
        pixels, half, view = height * width, height * size, size * size
        floats = ((channels + 1) * pixels, channels * max(pixels, half), max(4 * pixels, channels * view))
        return Scratch(*(torch.empty(images * n, device=device) for n in floats))


def _shaped(buffer: Tensor, *shape: int) -> Tensor:
    """The beginning of a flat buffer in a shape."""
    count = 1
    for side in shape:
        count *= side
    return buffer[:count].view(shape)


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
        pixels: (N, H, W, C) uint8 with C = 1 or 3, on any device; fastest if the memory behind it is (N, C, H, W).
        drawn: parameters of N images of H x W pixels, on the CPU, from where what is needed is moved.
        size: side of the view in pixels.
        mean: per channel, subtracted from pixels in [0, 1].
        std: per channel, divided by.
        out: (N, C, size, size) float32 on the pixels' device to write to; a new tensor if None.

    Returns:
        (N, C, size, size) float32 on the pixels' device.

    With one channel, brightness and contrast act and saturation, hue and greyscale do nothing, as in torchvision.
    Values are clamped to [0, 1] after every blend and after the bicubic filter, as they are in an 8-bit image, but
    never rounded. Raises ValueError where pixels and parameters do not fit.
    """
    _check(pixels, drawn, size, mean, std)
    images, height, width, channels = pixels.shape
    device = pixels.device
    if out is None:
        out = torch.empty(images, channels, size, size, device=device)
    elif out.shape != (images, channels, size, size) or out.dtype != torch.float32 or out.device != device:
        raise ValueError(
            f"out must be float32 of shape {(images, channels, size, size)} on {device}, "
            f"not {out.dtype} of shape {tuple(out.shape)} on {out.device}"
        )
    floats = CPU_PART_FLOATS if device.type == "cpu" else CUDA_PART_FLOATS
    part_images = min(images, max(1, floats // (channels * max(height * width, size * size))))
    with torch.inference_mode():
        scratch = Scratch.of(part_images, channels, height, width, size, device)
        _shaped(scratch.images, part_images, channels + 1, height * width)[:, -1] = 1.0  # see `colour`
        for part in parts(drawn, channels, part_images, device):
            coloured = _load(pixels, part, scratch)
            _colour_(coloured, part, scratch)
            view = _crop(coloured, part, (height, width, size), scratch)
            _finish_(view, part, drawn, mean, std)
            for plane, channel in zip(view, out[part.start : part.stop].unbind(1), strict=True):
                channel.index_copy_(0, part.places, plane)
    return out


def _load(pixels: Tensor, part: Part, scratch: Scratch) -> Tensor:
    """The part's images in its sorted order, (n, C + 1, P), the last plane ones."""
    images, (_, height, width, channels) = len(part.images), pixels.shape
    loaded = _shaped(scratch.images, images, channels + 1, height * width)
    planar = pixels.permute(0, 3, 1, 2)
    if planar.is_contiguous():
        loaded[:, :-1] = planar.index_select(0, part.images).flatten(2)
    else:
        loaded[:, :-1] = pixels.index_select(0, part.images).flatten(1, 2).transpose(1, 2)
    return loaded


def _colour_(images: Tensor, part: Part, scratch: Scratch) -> None:
    """In place: colour jitter and greyscale of images (n, C + 1, P) in the part's sorted order."""
    count, channels, pixels = len(images), images.shape[1] - 1, images.shape[2]
    other = _shaped(scratch.other, count, channels, pixels)
    averaging = (luma(channels, images.device) / pixels)[:, None].expand(channels, channels)

    def blends(ranges: tuple[slice, ...]) -> None:
        for j, chosen in enumerate(ranges):
            if chosen.start < chosen.stop:
                matrices, mean_weight = part.matrices[j, chosen], part.mean_weight[j, chosen]
                blend_(images[chosen], matrices, mean_weight, averaging, other[chosen], WHITE)

    blends(part.before)
    if part.sixths is not None and part.hue.stop > 0:
        hued = images[part.hue]
        if part.thirds is not None:
            roll_channels_(hued, part.thirds[part.hue])
        planes = _shaped(scratch.third, 4, part.hue.stop, pixels)
        rotate_hue_(hued, part.sixths[part.hue], other[part.hue], planes)
        blends(part.after)
    if part.grey is not None:
        greyscale_(images, part.grey)


def _crop(images: Tensor, part: Part, sides: tuple[int, int, int], scratch: Scratch) -> Tensor:
    """Resized crop and flip of images (n, C + 1, H W): views (C, n, S, S) in [0, 255]."""
    height, width, size = sides
    count, channels = images.shape[0], images.shape[1] - 1
    top, crop_height, left, crop_width = part.boxes
    down = crop_weights(top, crop_height, height, size).transpose(1, 2)
    across = crop_weights(left, crop_width, width, size, part.flip)
    planes = images.view(count, (channels + 1) * height, width)[:, : channels * height]
    narrow = _shaped(scratch.other, count, channels * height, size)
    torch.bmm(planes, across, out=narrow)
    view = _shaped(scratch.third, channels, count, size, size)
    for channel in range(channels):
        torch.bmm(down, narrow[:, channel * height : (channel + 1) * height], out=view[channel])
    return view.clamp_(0.0, WHITE)


def _finish_(view: Tensor, part: Part, drawn: Drawn, mean: Sequence[float], std: Sequence[float]) -> None:
    """In place: blur, solarise and normalise views (C, n, S, S) in [0, 255]."""
    if part.blurred is not None and part.sigma is not None and len(part.blurred):
        soft = blur(view.index_select(1, part.blurred), part.sigma[part.blurred], drawn.blur_radius)
        view.index_copy_(1, part.blurred, soft)
    if part.solarised is not None:
        solarise_(view, part.solarised, drawn.solarise_threshold * WHITE, WHITE)
    for plane, centre, spread in zip(view, mean, std, strict=True):
        torch.add(torch.tensor(-centre / spread), plane, alpha=1 / (WHITE * spread), out=plane)


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
