"""Rows: two random views of every image of a batch, from uint8 pixels to normalised tensors, beside PIL images and
torchvision's transforms in a DataLoader's workers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from harness.bench.conventional.pipeline import closing, endless, loader, pause, resume
from harness.bench.row import VIEWS, Machine, Row, Setup, Side, Target
from harness.data.images import Images
from harness.data.views import ViewStream
from harness.spec.models import Augmentation, Input
from methods.method import Batch

GROUP = "augmentation"
AGAINST = "PIL and torchvision in a DataLoader"
D = 2
FLOAT_BYTES = 4

SMALL = Augmentation()  # the W-MSE paper's pipeline for CIFAR
GREY = Augmentation(saturation=0, hue=0, greyscale_probability=0)
LARGE = Augmentation(
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
    greyscale_probability=0.2,
    crop_scale=(0.08, 1.0),
    blur_probability=0.5,
)


def rows(device: torch.device) -> tuple[Row, ...]:
    """CIFAR's, Fashion-MNIST's, STL-10's and ImageNet's sizes; larger batches of large images on a GPU."""
    large, medium = (128, 512) if device.type == "cuda" else (16, 128)
    return (
        views_row("32x32x3", 32, 32, 3, 512, SMALL, 25.0),
        views_row("28x28x1, grey", 28, 28, 1, 512, GREY),
        views_row("96x96x3 to 64x64", 96, 64, 3, medium, SMALL),
        views_row("256x256x3 to 224x224, blur", 256, 224, 3, large, LARGE),
    )


def views_row(
    name: str, full: int, size: int, channels: int, batch: int, spec: Augmentation, target: float | None = None
) -> Row:
    """Two views of images of `full` pixels a side, in batches of so many images, to views of `size`."""
    return Row(
        group=GROUP,
        name=f"{name}, {D} views, batch {batch}",
        unit=VIEWS,
        ours=_ours(full, size, channels, batch, spec),
        conventional=_conventional(full, size, channels, batch, spec),
        against=AGAINST,
        target=None if target is None else Target("ratio", target),
    )


def random_images(count: int, full: int, channels: int) -> Images:
    """Random pixels (N, H, W, C) without labels that mean anything."""
    pixels: npt.NDArray[np.uint8] = np.random.default_rng(0).integers(
        0, 256, (count, full, full, channels), dtype=np.uint8
    )
    return Images(pixels, np.zeros(count, dtype=np.int64))


def input_of(size: int, channels: int) -> Input:
    """Random images normalised as any other."""
    return Input(size=size, channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels)


def batches_of(stream: ViewStream) -> Iterator[Batch]:
    """Of one epoch after another."""
    epoch = 0
    while True:
        yield from stream.epoch(epoch)
        epoch += 1


def _images(full: int, batch: int) -> int:
    return (32 if full < 64 else 8) * batch


def _ours(full: int, size: int, channels: int, batch: int, augmentation: Augmentation) -> Setup:
    def setup(machine: Machine) -> Side:
        images = random_images(_images(full, batch), full, channels)
        input = input_of(size, channels)
        batches = batches_of(ViewStream(images, input, augmentation, D, batch, 0, machine.device))

        def turn() -> float:
            return float(next(batches).views[0][..., 0, 0, 0].numel())

        def before() -> None:
            next(batches)  # what may have been made while nobody measured

        moved = channels * (full * full + FLOAT_BYTES * size * size)  # each image read and each view written
        return Side(turn, moved_bytes=moved, before=before, close=batches.close)  # type: ignore[attr-defined]

    return setup


def _conventional(full: int, size: int, channels: int, batch: int, augmentation: Augmentation) -> Setup:
    def setup(machine: Machine) -> Side:
        images = random_images(_images(full, batch), full, channels)
        input = input_of(size, channels)
        source = loader(
            np.asarray(images.pixels),
            np.asarray(images.labels),
            augmentation,
            size,
            input.mean,
            input.std,
            views=D,
            batch_size=batch,
            workers=machine.workers,
            pin_memory=machine.device.type == "cuda",
        )
        batches = endless(source)

        def turn() -> float:
            views = [view.to(machine.device, non_blocking=True) for view in next(batches)]
            return float(len(views) * len(views[0]))

        return Side(turn, before=resume, after=pause, close=closing(batches))

    return setup
