"""In which order a batch of tensors is augmented: sorted, so that every colour operation acts on contiguous images.

Owns the bookkeeping between what was drawn (`draw.py`) and the formulas (`colour.py`); it computes no pixel.

An image's jitter is up to three blends and a hue rotation in its own order. Sorted by how many blends come before the
hue, blend j before the hue concerns one contiguous range of images, blend j after it another, and the hue rotation is
done once, for all jittered images.
"""

from __future__ import annotations

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
class Plan:
    """A batch in sorted order. Tensors are on the device; sizes are known without asking it."""

    order: Tensor  # (N,) int64: the views of the batch, sorted
    before: tuple[slice, ...]  # for blend j: the images on which it comes before the hue
    after: tuple[slice, ...]  # for blend j: the images on which it comes after the hue
    hue: slice  # the images whose hue is rotated
    luma: Tensor  # (C,) float32: weights of the greyscale
    matrices: Tensor  # (J, N, C, C) float32: blend j as a matrix; see `colour.blend_`
    mean_weight: Tensor  # (J, N) float32
    sixths: Tensor | None  # (N,) float32: hue shift beyond `thirds`, in sixths of a turn
    thirds: Tensor | None  # (N, 3) int64: the channels that a shift by thirds of a turn takes
    grey: Tensor | None  # (k,) int64: numbers in the sorted order
    boxes: Tensor  # (4, N) int64: top, height, left, width
    flip: Tensor | None  # (N,) bool
    blurred: Tensor | None  # (k,) int64: numbers in the sorted order
    sigma: Tensor | None  # (k,) float32, of these
    solarised: Tensor | None  # (k,) int64: numbers in the sorted order


def plan(drawn: Drawn, channels: int, device: torch.device) -> Plan:
    """Sorts a batch. The bookkeeping is NumPy's, on the CPU, and nothing waits for the device."""
    drawn = drawn if drawn.order.device.type == "cpu" else drawn.to("cpu")
    operations, factors, key = _sequence(drawn, channels)
    order = key.argsort(kind="stable")
    ends = np.bincount(key, minlength=len(factors) + 2).cumsum().tolist()  # ends[j]: up to j blends before the hue
    members = torch.from_numpy(order)

    def moved(values: Tensor | npt.NDArray[np.float32] | Integers) -> Tensor:
        return torch.as_tensor(values).to(device, non_blocking=True)

    def chosen(flags: Tensor | None) -> Tensor | None:
        return None if flags is None else flags[members].nonzero()[:, 0]

    matrices, mean_weight = _blends(factors, operations, order, channels)
    sixths, thirds = _hue(drawn, channels, order)
    blurred = chosen(drawn.blurred)
    sigma = None if blurred is None or drawn.blur_sigma is None else drawn.blur_sigma[members][blurred]
    flip = None if drawn.flip is None else drawn.flip[members]
    some = (sixths, thirds, chosen(drawn.grey), flip, blurred, sigma, chosen(drawn.solarised))
    sixths, thirds, grey, flip, blurred, sigma, solarised = (None if value is None else moved(value) for value in some)
    return Plan(
        order=moved(members),
        before=tuple(slice(early, ends[-2]) for early in ends[:-2]),
        after=tuple(slice(0, early) for early in ends[:-2]),
        hue=slice(0, ends[-2]),
        luma=moved(luma(channels)),
        matrices=moved(matrices),
        mean_weight=moved(mean_weight),
        sixths=sixths,
        thirds=thirds,
        grey=grey,
        boxes=moved(torch.stack((drawn.top, drawn.crop_height, drawn.left, drawn.crop_width))[:, members]),
        flip=flip,
        blurred=blurred,
        sigma=sigma,
        solarised=solarised,
    )


def _sequence(drawn: Drawn, channels: int) -> tuple[Integers, Floats, Integers]:
    """The J blends in each image's order, as operations and as factors, both (J, N); and the number of blends before
    the image's hue rotation (N,): J where hue is off, J + 1 where the image is not jittered."""
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
    """Matrices (J, N, C, C) of the blends and their weights of the mean grey (J, N), both sorted."""
    factors, operations = factors[:, order], operations[:, order]
    rest = 1 - factors
    saturating = rest * (operations == SATURATION)
    matrices = saturating[..., None, None] * luma(channels).numpy() + np.zeros((channels, 1), dtype=np.float32)
    for channel in range(channels):
        matrices[..., channel, channel] += factors
    return matrices, rest * (operations == CONTRAST)


def _hue(drawn: Drawn, channels: int, order: Integers) -> tuple[Tensor | None, Tensor | None]:
    """Each hue shift as sixths of a turn in [-1, 1] (N,) beyond thirds of a turn, and these as channels (N, 3); both
    sorted."""
    if drawn.hue is None or channels == 1:
        return None, None
    turns = drawn.hue.numpy()[order]
    thirds = None
    if np.abs(turns).max() > SIXTH:
        count = np.rint(turns * 3)
        turns = turns - count / 3
        thirds = torch.from_numpy((np.arange(3) - count.astype(np.int64)[:, None]) % 3)
    return torch.from_numpy(turns / np.float32(SIXTH)), thirds
