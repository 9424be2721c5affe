"""What is random in a view: draws every image's own augmentation parameters, distributed as torchvision's transforms
draw them. Owns the distributions; never touches a pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.spec.models import Augmentation

CROP_TRIES = 10  # as torchvision's RandomResizedCrop
ORDERS = torch.tensor(list(permutations(range(4))))  # (24, 4)
OPERATIONS = ("brightness", "contrast", "saturation", "hue")  # numbered 0 to 3 in `Drawn.order`


@dataclass(frozen=True)
class Drawn:
    """Parameters of one view of each of N images of one size. None: the operation is off for the whole batch."""

    height: int
    width: int
    order: Tensor  # (N, 4) int64: which of OPERATIONS comes first, second, third, fourth
    jittered: Tensor | None  # (N,) bool: whether colour jitter is applied at all
    brightness: Tensor | None  # (N,) float32 factors
    contrast: Tensor | None  # (N,) float32 factors
    saturation: Tensor | None  # (N,) float32 factors
    hue: Tensor | None  # (N,) float32 shifts in turns of the colour circle, in [-0.5, 0.5]
    grey: Tensor | None  # (N,) bool
    top: Tensor  # (N,) int64: the crop box in pixels
    left: Tensor  # (N,) int64
    crop_height: Tensor  # (N,) int64
    crop_width: Tensor  # (N,) int64
    flip: Tensor | None  # (N,) bool
    blurred: Tensor | None  # (N,) bool
    blur_sigma: Tensor | None  # (N,) float32 pixels of the view
    blur_radius: int  # taps on either side of the centre
    solarised: Tensor | None  # (N,) bool
    solarise_threshold: float  # of pixels in [0, 1]
    crop_first: bool = False  # whether the crop and the flip come before the jitter

    def __len__(self) -> int:
        return len(self.order)

    def to(self, device: torch.device | str) -> Drawn:
        """The same parameters on another device."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        moved: dict[str, Any] = {name: value.to(device) for name, value in values if isinstance(value, Tensor)}
        return replace(self, **moved)


def draw(spec: Augmentation, images: int, height: int, width: int, generator: torch.Generator) -> Drawn:
    """Parameters of one view of each of `images` images of height x width pixels.

    Distributions are those of torchvision's ColorJitter inside RandomApply (factors U(max(0, 1 - x), 1 + x), hue
    U(-x, x), order uniform over the 24, for each image), RandomGrayscale, RandomResizedCrop, RandomHorizontalFlip, and
    GaussianBlur and RandomSolarize with a probability. All draws come from `generator`, a CPU generator; equal states
    give equal draws.

    The blur's kernel has 2 ceil(3 s) + 1 taps for the largest standard deviation s of the spec, so that less than 0.3 %
    of the Gaussian is cut off. (SimCLR, arXiv 2002.05709, takes a tenth of the image's side: at 224 pixels more taps
    of next to no weight, at 32 pixels a Gaussian cut within one standard deviation.)
    """
    if images < 1 or height < 1 or width < 1:
        raise ValueError(f"cannot draw views of {images} images of {height} x {width} pixels: each must be at least 1")

    def chosen(probability: float) -> Tensor | None:
        return torch.rand(images, generator=generator) < probability if probability > 0 else None

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(images, generator=generator).mul_(high - low).add_(low)

    def factor(strength: float) -> Tensor | None:
        return uniform(max(0.0, 1.0 - strength), 1.0 + strength) if strength > 0 and jitters else None

    jitters = spec.jitter_probability > 0
    boxes = _boxes(spec, images, height, width, generator)
    top, left, crop_height, crop_width = torch.from_numpy(boxes)
    return Drawn(
        height=height,
        width=width,
        # Indexing with brackets would wake all of torch's threads, which costs more than all the draws.
        order=ORDERS.index_select(0, torch.randint(len(ORDERS), (images,), generator=generator)),
        jittered=chosen(spec.jitter_probability),
        brightness=factor(spec.brightness),
        contrast=factor(spec.contrast),
        saturation=factor(spec.saturation),
        hue=uniform(-spec.hue, spec.hue) if spec.hue > 0 and jitters else None,
        grey=chosen(spec.greyscale_probability),
        top=top,
        left=left,
        crop_height=crop_height,
        crop_width=crop_width,
        flip=chosen(spec.flip_probability),
        blurred=chosen(spec.blur_probability),
        blur_sigma=uniform(*spec.blur_sigma) if spec.blur_probability > 0 else None,
        blur_radius=math.ceil(3 * spec.blur_sigma[1]),
        solarised=chosen(spec.solarise_probability),
        solarise_threshold=spec.solarise_threshold,
        crop_first=spec.order == "crop_jitter",
    )


def _boxes(
    spec: Augmentation, images: int, height: int, width: int, generator: torch.Generator
) -> npt.NDArray[np.int64]:
    """Crop boxes, (4, N): top, left, height, width; torchvision's RandomResizedCrop.get_params for a batch.

    Ten tries a box: area uniform in `crop_scale`, width over height log-uniform in `crop_ratio`, sides rounded to whole
    pixels; a box that does not fit is drawn again, and after the tenth try the central crop is taken.
    """
    low, high = (math.log(ratio) for ratio in spec.crop_ratio)
    sides = np.empty((2, images))  # height, width
    misfits = np.arange(images)
    for _ in range(CROP_TRIES):
        share, log_ratio = torch.rand(2, len(misfits), generator=generator, dtype=torch.float64).numpy()
        area = (share * (spec.crop_scale[1] - spec.crop_scale[0]) + spec.crop_scale[0]) * (height * width)
        ratio = np.exp(log_ratio * (high - low) + low)
        tried = np.rint(np.sqrt((area / ratio, area * ratio)))  # halves to even, as Python's round
        sides[:, misfits] = tried
        misfits = misfits[((tried < 1) | (tried > [[height], [width]])).any(axis=0)]
        if len(misfits) == 0:
            break
    central_height, central_width = _central(spec.crop_ratio, height, width)
    sides[:, misfits] = [[central_height], [central_width]]
    room = np.array([[height], [width]]) - sides
    corner = np.floor(torch.rand(2, images, generator=generator, dtype=torch.float64).numpy() * (room + 1))
    corner[:, misfits] = room[:, misfits] // 2
    return np.concatenate((corner, sides)).astype(np.int64)


def _central(ratios: tuple[float, float], height: int, width: int) -> tuple[int, int]:
    """Height and width of the largest central crop within the range of ratios."""
    if width / height < min(ratios):
        return round(width / min(ratios)), width
    if width / height > max(ratios):
        return height, round(height * max(ratios))
    return height, width
