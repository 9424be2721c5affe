"""Random views of whole batches by tensor operations, without a loop over images: what a GPU runs, and the reference
that the CPU's compiled loops (`kernels.py`) are tested against.

Owns the order of the pipeline: colour jitter on the full image, greyscale, resized crop, flip, blur, solarise,
normalise (the W-MSE paper's released code); or crop and flip first, and the rest on the view. The formulas are in
`colour.py`, `resize.py`, `blur.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.data.blur import blur
from harness.data.colour import blend_, greyscale_, roll_channels_, rotate_hue_, solarise_
from harness.data.draw import Drawn
from harness.data.plan import Plan, plan
from harness.data.resize import crop_weights

WHITE = 255.0  # pixels stay in [0, 255] until they are normalised, which saves a pass over them


def augment_tensors(
    pixels: Tensor, rows: Tensor | None, drawn: Drawn, size: int, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """As `augment`, of checked tensors on any device, with about four times the memory of the images as float32."""
    _, height, width, channels = pixels.shape
    out = torch.empty(len(drawn), size, size, channels, device=pixels.device)
    with torch.inference_mode():
        sorted_ = plan(drawn, channels, pixels.device)
        chosen = sorted_.order if rows is None else rows.to(pixels.device, non_blocking=True)[sorted_.order]
        images = pixels[chosen].permute(0, 3, 1, 2).flatten(2).to(torch.float32, memory_format=torch.contiguous_format)
        if drawn.crop_first:
            cropped = _crop(images.view(-1, channels, height, width), sorted_, size)
            images = cropped.transpose(0, 1).flatten(2).contiguous()
            _colour_(images, sorted_)
            views = images.view(-1, channels, size, size).transpose(0, 1).contiguous()
        else:
            _colour_(images, sorted_)
            views = _crop(images.view(-1, channels, height, width), sorted_, size)
        _finish_(views, sorted_, drawn, mean, std)
        out.index_copy_(0, sorted_.order, views.permute(1, 2, 3, 0))
    return out.permute(0, 3, 1, 2)


def _colour_(images: Tensor, plan: Plan) -> None:
    """In place: colour jitter and greyscale of images (N, C, P) in sorted order."""

    def blends(ranges: tuple[slice, ...]) -> None:
        for j, chosen in enumerate(ranges):
            if chosen.start < chosen.stop:
                blend_(images[chosen], plan.matrices[j, chosen], plan.mean_weight[j, chosen], plan.luma, WHITE)

    blends(plan.before)
    if plan.sixths is not None and plan.hue.stop > 0:
        hued = images[plan.hue]
        if plan.thirds is not None:
            roll_channels_(hued, plan.thirds[plan.hue])
        rotate_hue_(hued, plan.sixths[plan.hue])
        blends(plan.after)
    if plan.grey is not None:
        greyscale_(images, plan.grey)


def _crop(images: Tensor, plan: Plan, size: int) -> Tensor:
    """Resized crop and flip of images (N, C, H, W): views (C, N, S, S) in [0, 255]."""
    _, channels, height, width = images.shape
    top, crop_height, left, crop_width = plan.boxes
    down = crop_weights(top, crop_height, height, size).transpose(1, 2)
    across = crop_weights(left, crop_width, width, size, plan.flip)
    narrow = torch.bmm(images.flatten(1, 2), across).view(-1, channels, height, size)
    return torch.stack([torch.bmm(down, channel) for channel in narrow.unbind(1)]).clamp_(0.0, WHITE)


def _finish_(views: Tensor, plan: Plan, drawn: Drawn, mean: Sequence[float], std: Sequence[float]) -> None:
    """In place: blur, solarise and normalise views (C, N, S, S) in [0, 255]."""
    if plan.blurred is not None and plan.sigma is not None and len(plan.blurred):
        views.index_copy_(1, plan.blurred, blur(views.index_select(1, plan.blurred), plan.sigma, drawn.blur_radius))
    if plan.solarised is not None:
        solarise_(views, plan.solarised, drawn.solarise_threshold * WHITE, WHITE)
    for view, centre, spread in zip(views, mean, std, strict=True):
        view.mul_(1 / (WHITE * spread)).sub_(centre / spread)
