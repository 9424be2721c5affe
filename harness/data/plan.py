"""In which order a batch is augmented: sorted, part by part, so that every colour operation acts on contiguous images.

Owns the bookkeeping between what was drawn (`draw.py`) and the formulas (`colour.py`); it computes no pixel.

An image's jitter is up to three blends and a hue rotation in its own order. Sorted by how many blends come before the
hue, blend j before the hue concerns one contiguous range of images, blend j after it another, and the hue rotation is
done once, for all jittered images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.data.colour import SIXTH, luma
from harness.data.draw import OPERATIONS, Drawn

_, CONTRAST, SATURATION, HUE = range(len(OPERATIONS))
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """Images start to stop of the batch, sorted. Tensors are on the device; sizes are known without asking it."""

    start: int
    stop: int
    images: Tensor  # (n,) int64: the images of the batch, in sorted order
    places: Tensor  # (n,) int64: the same, counted from `start`
    before: tuple[slice, ...]  # for blend j: the images on which it comes before the hue
    after: tuple[slice, ...]  # for blend j: the images on which it comes after the hue
    hue: slice  # the images whose hue is rotated
    matrices: Tensor  # (J, n, C, C + 1) float32: blend j as a matrix; see `colour.blend_`
    mean_weight: Tensor  # (J, n, 1) float32
    sixths: Tensor | None  # (n, 1, 1) float32: hue shift beyond `thirds`, in sixths of a turn
    thirds: Tensor | None  # (n, 3) int64: the channels that a shift by thirds of a turn takes
    grey: Tensor | None  # (k,) int64: numbers in the sorted order
    boxes: Tensor  # (4, n) int64: top, height, left, width
    flip: Tensor | None  # (n,) bool
    blurred: Tensor | None  # (k,) int64: numbers in the sorted order
    sigma: Tensor | None  # (n,) float32
    solarised: Tensor | None  # (k,) int64: numbers in the sorted order


def parts(drawn: Drawn, channels: int, part_images: int, device: torch.device) -> Iterator[Part]:
    """Cuts a batch into parts of so many images; the last may be smaller. The bookkeeping is NumPy's, on the CPU: its
    operations on so few numbers start several times faster than torch's."""
    drawn = drawn if drawn.order.device.type == "cpu" else drawn.to("cpu")
    operations, factors, key = _sequence(drawn, channels)
    groups = len(factors) + 2
    key = key + np.arange(len(drawn)) // part_images * groups
    order = key.argsort(kind="stable")
    tally = np.bincount(key, minlength=groups * -(-len(drawn) // part_images)).reshape(-1, groups)
    ends = tally.cumsum(axis=1).tolist()  # ends[part][j]: images with up to j blends before the hue

    def sorted_(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[members].to(device, non_blocking=True)

    def chosen(flags: Tensor | None) -> Tensor | None:
        return None if flags is None else flags[members].nonzero()[:, 0].to(device, non_blocking=True)

    members = torch.from_numpy(order)
    images = members.to(device)
    matrices, mean_weight = (torch.from_numpy(a).to(device) for a in _blends(factors, operations, order, channels))
    sixths, thirds = _hue(drawn, channels, order)
    boxes = torch.stack((drawn.top, drawn.crop_height, drawn.left, drawn.crop_width))[:, members].to(device)
    sixths, thirds, flip, sigma = (
        None if a is None else a.to(device) for a in (sixths, thirds, sorted_(drawn.flip), sorted_(drawn.blur_sigma))
    )
    for start, end in zip(range(0, len(drawn), part_images), ends, strict=True):
        stop = start + end[-1]
        here, members = slice(start, stop), torch.from_numpy(order[start:stop])
        yield Part(
            start=start,
            stop=stop,
            images=images[here],
            places=images[here] - start,
            before=tuple(slice(early, end[-2]) for early in end[:-2]),
            after=tuple(slice(0, early) for early in end[:-2]),
            hue=slice(0, end[-2]),
            matrices=matrices[:, here],
            mean_weight=mean_weight[:, here],
            sixths=None if sixths is None else sixths[here],
            thirds=None if thirds is None else thirds[here],
            grey=chosen(drawn.grey),
            boxes=boxes[:, here],
            flip=None if flip is None else flip[here],
            blurred=chosen(drawn.blurred),
            sigma=None if sigma is None else sigma[here],
            solarised=chosen(drawn.solarised),
        )


def _sequence(drawn: Drawn, channels: int) -> tuple[Integers, Floats, Integers]:
    """The J blends in each image's order, as operations and as factors, both (J, N); and the number of blends before
    the
    image's hue rotation (N,): J where hue is off, J + 1 where the image is not jittered."""
    by_operation = (drawn.brightness, drawn.contrast, drawn.saturation if channels == 3 else None)
    active = tuple(i for i, factor in enumerate(by_operation) if factor is not None)
    table = _orders(active, drawn.hue is not None and channels == 3)[:, drawn.order.numpy() @ (64, 16, 4, 1)]
    key, operations = table[-1], table[:-1]
    if drawn.jittered is not None:
        key = np.where(drawn.jittered.numpy(), key, len(active) + 1)
    factors = np.ones((3, len(drawn)), dtype=np.float32)
    for i in active:
        factors[i] = by_operation[i]
    return operations, np.take_along_axis(factors, operations, axis=0), key


@cache
def _orders(active: tuple[int, ...], has_hue: bool) -> Integers:
    """For each order of the four operations, read as a number of base four: the active blends in that order, and how
    many of them come before the hue; (J + 1, 256)."""
    table = np.zeros((len(active) + 1, 256), dtype=np.int64)
    for order in permutations(range(4)):
        blends = [operation for operation in order if operation in active]
        early = [operation for operation in order[: order.index(HUE)] if operation in active]
        code = int(np.dot(order, (64, 16, 4, 1)))
        table[:, code] = [*blends, len(early) if has_hue else len(active)]
    return table


def _blends(factors: Floats, operations: Integers, order: Integers, channels: int) -> tuple[Floats, Floats]:
    """Matrices (J, N, C, C + 1) of the blends, but for the last column, and their weights of the mean grey (J, N, 1),
    both sorted."""
    factors, operations = factors[:, order], operations[:, order]
    rest = 1 - factors
    saturating = rest * (operations == SATURATION)
    averaging = rest * (operations == CONTRAST)
    matrices = np.zeros((*factors.shape, channels, channels + 1), dtype=np.float32)
    matrices[..., :-1] = saturating[..., None, None] * luma(channels).numpy()
    for channel in range(channels):
        matrices[..., channel, channel] += factors
    return matrices, averaging[..., None]


def _hue(drawn: Drawn, channels: int, order: Integers) -> tuple[Tensor | None, Tensor | None]:
    """Each hue shift as sixths of a turn in [-1, 1] (N, 1, 1) beyond thirds of a turn, and these as channels (N, 3);
    both sorted."""
    if drawn.hue is None or channels == 1:
        return None, None
    turns = drawn.hue.numpy()[order]
    thirds = None
    if np.abs(turns).max() > SIXTH:
        count = np.rint(turns * 3)
        turns = turns - count / 3
        thirds = torch.from_numpy((np.arange(3) - count.astype(np.int64)[:, None]) % 3)
    return torch.from_numpy((turns / np.float32(SIXTH)).reshape(-1, 1, 1)), thirds
