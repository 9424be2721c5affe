"""In which order a batch is augmented: sorted, part by part, so that every colour operation acts on contiguous images.

Owns the bookkeeping between what was drawn (`draw.py`) and the formulas (`colour.py`); it computes no pixel.

An image's jitter is up to three blends and a hue rotation in its own order. Sorted by how many blends come before the
hue, blend j before the hue concerns one contiguous range of images, blend j after it another, and the hue rotation is done
once, for all jittered images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import torch
from torch import Tensor

from harness.data.colour import SIXTH, luma
from harness.data.draw import OPERATIONS, Drawn

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(len(OPERATIONS))


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
    top: Tensor  # (n,) int64, like the rest of the box
    crop_height: Tensor
    left: Tensor
    crop_width: Tensor
    flip: Tensor | None  # (n,) bool
    blurred: Tensor | None  # (k,) int64: numbers in the sorted order
    sigma: Tensor | None  # (k,) float32
    solarised: Tensor | None  # (k,) int64: numbers in the sorted order


def parts(drawn: Drawn, channels: int, part_images: int, device: torch.device) -> Iterator[Part]:
    """Cuts a batch into parts of so many images; the last may be smaller."""
    operations, factors, key = _sequence(drawn, channels)
    groups = len(factors) + 2
    part = torch.arange(len(drawn)).div_(part_images, rounding_mode="floor")
    key = key.add(part, alpha=groups)
    order = key.argsort(stable=True)
    tally = torch.bincount(key, minlength=groups * -(-len(drawn) // part_images)).view(-1, groups).tolist()
    matrices, mean_weight = _blends(factors[:, order].to(device), operations[:, order].to(device), channels)
    sixths, thirds = _hue(drawn, channels, order, device)
    images = order.to(device)
    boxes = torch.stack((drawn.top, drawn.crop_height, drawn.left, drawn.crop_width))[:, order].to(device)
    flip = None if drawn.flip is None else drawn.flip[order].to(device)
    start = 0
    for sizes in tally:
        stop = start + sum(sizes)
        here, members = slice(start, stop), order[start:stop]
        ends = [sum(sizes[: j + 1]) for j in range(groups)]  # ends[j]: images with up to j blends before the hue
        jittered = ends[len(factors)]
        blurred = _chosen(drawn.blurred, members)
        sigma = None if blurred is None or drawn.blur_sigma is None else drawn.blur_sigma[members[blurred]].to(device)
        yield Part(
            start,
            stop,
            images[here],
            images[here] - start,
            tuple(slice(ends[j], jittered) for j in range(len(factors))),
            tuple(slice(0, ends[j]) for j in range(len(factors))),
            slice(0, jittered),
            matrices[:, here],
            mean_weight[:, here],
            None if sixths is None else sixths[here],
            None if thirds is None else thirds[here],
            _moved(_chosen(drawn.grey, members), device),
            *boxes[:, here],
            None if flip is None else flip[here],
            _moved(blurred, device),
            sigma,
            _moved(_chosen(drawn.solarised, members), device),
        )
        start = stop


def _chosen(flags: Tensor | None, members: Tensor) -> Tensor | None:
    return None if flags is None else flags[members].nonzero()[:, 0]


def _moved(numbers: Tensor | None, device: torch.device) -> Tensor | None:
    return None if numbers is None else numbers.to(device)


def _sequence(drawn: Drawn, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """The J blends in each image's order, as operations and as factors, both (J, N); and the number of blends before the
    image's hue rotation (N,): J where hue is off, J + 1 where the image is not jittered."""
    by_operation = (drawn.brightness, drawn.contrast, drawn.saturation if channels == 3 else None)
    active = tuple(i for i, factor in enumerate(by_operation) if factor is not None)
    has_hue = drawn.hue is not None and channels == 3
    code = (drawn.order * torch.tensor((64, 16, 4, 1))).sum(dim=1)
    table = _orders(active, has_hue).index_select(0, code)  # (N, J + 1)
    key = table[:, -1]
    if drawn.jittered is not None:
        key = torch.where(drawn.jittered, key, len(active) + 1)
    operations = table[:, :-1]
    if not active:
        return operations.T, torch.empty(0, len(drawn)), key
    ones = torch.ones(len(drawn))
    factors = torch.stack([ones if f is None else f for f in by_operation], dim=1)  # (N, 3)
    return operations.T, factors.gather(1, operations).T, key


@cache
def _orders(active: tuple[int, ...], has_hue: bool) -> Tensor:
    """For each order of the four operations, read as a number of base four: the active blends in that order, and how many of
    them come before the hue; (256, J + 1)."""
    table = torch.zeros(256, len(active) + 1, dtype=torch.int64)
    for order in permutations(range(4)):
        blends = [operation for operation in order if operation in active]
        early = [operation for operation in order[: order.index(HUE)] if operation in active]
        code = order[0] * 64 + order[1] * 16 + order[2] * 4 + order[3]
        table[code] = torch.tensor([*blends, len(early) if has_hue else len(active)])
    return table


def _blends(factors: Tensor, operations: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Matrices (J, N, C, C + 1) of the blends, but for the last column, and their weights of the mean grey (J, N, 1)."""
    rest = 1 - factors
    saturating = rest * (operations == SATURATION)
    averaging = rest * (operations == CONTRAST)
    matrices = torch.empty(*factors.shape, channels, channels + 1, device=factors.device)
    matrices[..., :-1] = saturating[..., None, None] * luma(channels, factors.device)
    matrices[..., :-1].diagonal(dim1=-2, dim2=-1).add_(factors[..., None])
    return matrices, averaging[..., None]


def _hue(drawn: Drawn, channels: int, order: Tensor, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
    """Each hue shift as sixths of a turn in [-1, 1] (N, 1, 1) beyond thirds of a turn, and these as channels (N, 3)."""
    if drawn.hue is None or channels == 1:
        return None, None
    turns = drawn.hue[order]
    thirds = None
    if bool((turns.abs() > SIXTH).any()):
        count = (turns * 3).round()
        turns = turns - count / 3
        thirds = ((torch.arange(3) - count.long()[:, None]) % 3).to(device)
    return (turns / SIXTH).view(-1, 1, 1).to(device), thirds
