"""What is random in a view: draws every image's own augmentation parameters, distributed as torchvision's transforms
draw them. Owns the distributions; never touches a pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from itertools import permutations

import torch
from torch import Tensor

from harness.suite.cell import AugmentationSpec

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

    def __len__(self) -> int:
        return len(self.order)

    def to(self, device: torch.device | str) -> Drawn:
        """The same parameters on another device."""
        moved = {f.name: value.to(device) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        return replace(self, **moved)


def draw(spec: AugmentationSpec, images: int, height: int, width: int, generator: torch.Generator) -> Drawn:
    """Parameters of one view of each of `images` images of height x width pixels.

    Distributions are those of torchvision's ColorJitter inside RandomApply (factors U(max(0, 1 - x), 1 + x), hue U(-x, x),
    order uniform over the 24, per image), RandomGrayscale, RandomResizedCrop, RandomHorizontalFlip, and GaussianBlur and
    RandomSolarize with a probability. All draws come from `generator`, a CPU generator; equal states give equal draws.

    The blur's kernel has 2 ceil(3 s) + 1 taps for the largest standard deviation s of the spec, so that less than 0.3 % of the
    Gaussian is cut off (SimCLR, arXiv 2002.05709, takes a tenth of the image's side, which at 224 pixels is more
    taps of next to no weight; at 32 pixels it would cut the Gaussian at less than one standard deviation).
    """
    if images < 1 or height < 1 or width < 1:
        raise ValueError(
            f"cannot draw views of {images} images of {height} x {width} pixels: all three must be at least 1"
        )

    def chosen(probability: float) -> Tensor | None:
        return torch.rand(images, generator=generator) < probability if probability > 0 else None

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(images, generator=generator) * (high - low) + low

    def factor(strength: float) -> Tensor | None:
        return uniform(max(0.0, 1.0 - strength), 1.0 + strength) if strength > 0 and jitters else None

    jitters = spec.jitter_probability > 0
    top, left, crop_height, crop_width = _boxes(spec, images, height, width, generator)
    return Drawn(
        height=height,
        width=width,
        order=ORDERS[torch.randint(len(ORDERS), (images,), generator=generator)],
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
    )


def _boxes(
    spec: AugmentationSpec, images: int, height: int, width: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Crop boxes (top, left, height, width), each (N,) int64: torchvision's RandomResizedCrop.get_params for a batch.

    Ten tries a box: area uniform in `crop_scale`, width over height log-uniform in `crop_ratio`, sides rounded to whole
    pixels; a box that does not fit is drawn again, and after the tenth try the central crop is taken.
    """
    low, high = (math.log(ratio) for ratio in spec.crop_ratio)
    box_width = torch.empty(images, dtype=torch.float64)
    box_height = torch.empty(images, dtype=torch.float64)
    open_boxes = torch.arange(images)
    for _ in range(CROP_TRIES):
        uniform = torch.rand(2, len(open_boxes), generator=generator, dtype=torch.float64)
        area = (uniform[0] * (spec.crop_scale[1] - spec.crop_scale[0]) + spec.crop_scale[0]) * (height * width)
        ratio = (uniform[1] * (high - low) + low).exp()
        wide, tall = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()  # both round halves to even
        box_width[open_boxes], box_height[open_boxes] = wide, tall
        misfit = (wide < 1) | (wide > width) | (tall < 1) | (tall > height)
        open_boxes = open_boxes[misfit]
        if len(open_boxes) == 0:
            break
    place = torch.rand(2, images, generator=generator, dtype=torch.float64)
    top = (place[0] * (height - box_height + 1)).floor()
    left = (place[1] * (width - box_width + 1)).floor()
    central_height, central_width = _central(spec.crop_ratio, height, width)
    box_height[open_boxes], box_width[open_boxes] = float(central_height), float(central_width)
    top[open_boxes] = float((height - central_height) // 2)
    left[open_boxes] = float((width - central_width) // 2)
    return top.long(), left.long(), box_height.long(), box_width.long()


def _central(ratios: tuple[float, float], height: int, width: int) -> tuple[int, int]:
    """Height and width of the largest central crop within the range of ratios."""
    if width / height < min(ratios):
        return round(width / min(ratios)), width
    if width / height > max(ratios):
        return height, round(height * max(ratios))
    return height, width
