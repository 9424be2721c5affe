"""Views on a CPU by compiled loops (`kernels.py`): the parameters as arrays, and the threads that share the batch.

Owns the call and the check of what was drawn; computes no pixel and chooses no parameter. Every view is made alone, so
that neither the number of threads nor the rest of the batch changes a bit of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.data.draw import OPERATIONS, Drawn
from harness.data.kernels import make_views
from harness.threads import share

NEUTRAL = (1.0, 1.0, 1.0, 0.0)  # the factors by which the OPERATIONS change nothing
WHITE = 255.0


def augment_fused(
    pixels: Tensor, rows: Tensor | None, drawn: Drawn, size: int, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """As `augment`, of checked CPU tensors. ValueError where a box leaves the image or an order is none."""
    if not pixels.is_contiguous():
        pixels, rows = (pixels if rows is None else pixels[rows]).contiguous(), None
    views, channels = len(drawn), pixels.shape[3]
    boxes = torch.stack((drawn.top, drawn.left, drawn.crop_height, drawn.crop_width)).numpy()
    order = drawn.order.numpy()
    _check(boxes, order, drawn)
    out = torch.empty(views, size, size, channels)
    make = partial(
        make_views,
        pixels.numpy(),
        np.arange(views) if rows is None else np.ascontiguousarray(rows.numpy()),
        np.ascontiguousarray(order),
        _factors(drawn, channels),
        np.ascontiguousarray(boxes.T),
        _flags(drawn, channels),
        _sigma(drawn),
        min(drawn.blur_radius, size - 1),
        WHITE * drawn.solarise_threshold,
        drawn.crop_first,
        _normalising(mean, std, size),
        out.view(views, size, size * channels).numpy(),
    )
    share(make, views, torch.get_num_threads())
    return out.permute(0, 3, 1, 2)


def _check(boxes: npt.NDArray[np.int64], order: npt.NDArray[np.int64], drawn: Drawn) -> None:
    """The compiled loops would read past the image, and past the table of factors."""
    corners, sides, full = boxes[:2], boxes[2:], np.array([[drawn.height], [drawn.width]])
    outside = ((corners < 0) | (sides < 1) | (corners + sides > full)).any(axis=0)
    if outside.any():
        view = int(outside.argmax())
        top, left, height, width = boxes[:, view].tolist()
        raise ValueError(
            f"the crop of view {view}, {height} x {width} pixels from row {top}, column {left} on, is not inside its "
            f"image of {drawn.height} x {drawn.width} pixels"
        )
    if order.min() < 0 or order.max() >= len(OPERATIONS):
        raise ValueError(f"the jitter's order must be of operations 0 to {len(OPERATIONS) - 1}")


def _flags(drawn: Drawn, channels: int) -> npt.NDArray[np.bool_]:
    """(N, 3): whether a view is grey, flipped, solarised."""
    flags = np.zeros((len(drawn), 3), dtype=np.bool_)
    for column, flag in enumerate((drawn.grey if channels == 3 else None, drawn.flip, drawn.solarised)):
        if flag is not None:
            flags[:, column] = flag.numpy()
    return flags


def _factors(drawn: Drawn, channels: int) -> npt.NDArray[np.float32]:
    """(N, 4): a factor for each of the operations, neutral where it is off."""
    factors = np.tile(np.array(NEUTRAL, dtype=np.float32), (len(drawn), 1))
    for column, name in enumerate(OPERATIONS):
        values: Tensor | None = getattr(drawn, name)
        if values is not None and (channels == 3 or name in ("brightness", "contrast")):
            factors[:, column] = values.numpy()
    if drawn.jittered is not None:
        factors[~drawn.jittered.numpy()] = NEUTRAL
    return factors


def _sigma(drawn: Drawn) -> npt.NDArray[np.float32]:
    """(N,): the blur's standard deviation, 0 where it is off."""
    if drawn.blurred is None or drawn.blur_sigma is None:
        return np.zeros(len(drawn), dtype=np.float32)
    return np.where(drawn.blurred.numpy(), drawn.blur_sigma.numpy(), np.float32(0))


def _normalising(mean: Sequence[float], std: Sequence[float], size: int) -> npt.NDArray[np.float32]:
    """(2, S C): what each value of a row is multiplied by, and what is added then."""
    centre, spread = np.array(mean, dtype=np.float64), np.array(std, dtype=np.float64)
    return np.tile(np.stack((1 / (WHITE * spread), -centre / spread)), (1, size)).astype(np.float32)
