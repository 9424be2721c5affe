"""In which order a batch is augmented: images sorted so that each colour operation acts on one contiguous range.

Owns the bookkeeping between what was drawn (`draw.py`) and the formulas (`colour.py`); it computes no pixel.

An image's jitter is three blends and a hue rotation in its own order. Sorted by how many blends come before the hue,
blend j before the hue concerns a contiguous range of images, blend j after it another, and the hue rotation, by far the dearest
step, is done once for all jittered images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.data.draw import OPERATIONS, Drawn


@dataclass(frozen=True)
class Chunk:
    """A part of the batch, sorted. Indices are on the device; every size is a plain number, known without asking it."""

    images: Tensor  # (n,) int64: which images of the batch, in this chunk's order
    before: tuple[slice, ...]  # for blend j: the images on which it comes before the hue
    after: tuple[slice, ...]  # for blend j: the images on which it comes after the hue
    hue: slice  # the images whose hue is rotated
    weights: Tensor  # (3 J + 1, n, 1) float32: image, grey and mean weight of blend j, for each j; then the hue shift
    grey: Tensor | None  # (k,) int64: positions in the chunk, likewise below
    blurred: Tensor | None
    solarised: Tensor | None


def chunks(drawn: Drawn, channels: int, chunk_images: int, device: torch.device) -> Iterator[Chunk]:
    """Cuts a batch into chunks of about so many images, each with the same mix of orders."""
    drawn = drawn.to("cpu")
    count = -(-len(drawn) // chunk_images)
    blends, weights, key = _sort_key(drawn, channels)
    # Within each key, deal the images out to the chunks evenly.
    order = key.argsort(stable=True)
    sizes = torch.bincount(key, minlength=blends + 2)
    within = torch.arange(len(drawn)) - (sizes.cumsum(0) - sizes)[key[order]]
    chunk = within * count // sizes[key[order]]
    images = order[chunk.argsort(stable=True)]
    tally = torch.bincount(chunk * (blends + 2) + key[order], minlength=count * (blends + 2)).view(count, -1).tolist()
    moved_images, moved_weights = images.to(device), weights[:, images, None].to(device)
    start = 0
    for groups in tally:
        stop = start + sum(groups)
        here = images[start:stop]
        jittered = sum(groups[:-1])
        yield Chunk(
            images=moved_images[start:stop],
            before=tuple(slice(sum(groups[: j + 1]), jittered) for j in range(blends)),
            after=tuple(slice(0, sum(groups[: j + 1])) for j in range(blends)),
            hue=slice(0, jittered if drawn.hue is not None and channels == 3 else 0),
            weights=moved_weights[:, start:stop],
            grey=_positions(drawn.grey, here, device),
            blurred=_positions(drawn.blurred, here, device),
            solarised=_positions(drawn.solarised, here, device),
        )
        start = stop


def _positions(chosen: Tensor | None, images: Tensor, device: torch.device) -> Tensor | None:
    return None if chosen is None else chosen[images].nonzero()[:, 0].to(device)


def _sort_key(drawn: Drawn, channels: int) -> tuple[int, Tensor, Tensor]:
    """The number J of blends, their weights (3 J + 1, N), and per image the number of blends before its hue rotation (N,):
    J where hue is off, J + 1 where the image is not jittered."""
    factors = (drawn.brightness, drawn.contrast, drawn.saturation if channels == 3 else None)
    active = [i for i, factor in enumerate(factors) if factor is not None]
    blends = len(active)
    place = drawn.order.argsort(dim=1)  # (N, 4): when each operation comes
    key = torch.full((len(drawn),), blends)
    if drawn.hue is not None and channels == 3:
        hue_place = place[:, OPERATIONS.index("hue")]
        key = (place[:, active] < hue_place[:, None]).sum(dim=1)
    if drawn.jittered is not None:
        key = torch.where(drawn.jittered, key, blends + 1)
    weights = torch.zeros(3 * blends + 1, len(drawn))
    if blends:
        factor = torch.stack([f for f in factors if f is not None], dim=1)  # (N, J)
        sequence = place[:, active].argsort(dim=1)  # (N, J): which active blend comes j-th
        strength = factor.gather(1, sequence).T
        kind = torch.tensor(active)[sequence].T  # (J, N)
        weights[0:-1:3] = strength
        weights[1:-1:3] = (1 - strength) * (kind == OPERATIONS.index("saturation"))
        weights[2:-1:3] = (1 - strength) * (kind == OPERATIONS.index("contrast"))
    if drawn.hue is not None:
        weights[-1] = drawn.hue
    return blends, weights, key
