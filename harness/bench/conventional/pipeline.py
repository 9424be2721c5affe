"""The conventional pipeline that speed figures are a ratio to: PIL images and torchvision transforms, one image at
a time, in the worker processes of a DataLoader, as public self-supervised training code does it.

Owns that yardstick and nothing else; it never imports the code it is compared with.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Callable, Generator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from harness.spec.models import Augmentation


class GaussianBlur:
    """PIL's Gaussian blur with a random radius, as SimCLR-style code applies it."""

    def __init__(self, sigma: tuple[float, float]) -> None:
        self.sigma = sigma

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(*self.sigma)))


def transform(spec: Augmentation, size: int, mean: Sequence[float], std: Sequence[float]) -> transforms.Compose:
    """The random pipeline of one view, in the order of the W-MSE paper's code."""
    jitter = transforms.ColorJitter(spec.brightness, spec.contrast, spec.saturation, spec.hue)
    steps: list[object] = [transforms.RandomApply([jitter], p=spec.jitter_probability)]
    if spec.greyscale_probability > 0:
        steps.append(transforms.RandomGrayscale(p=spec.greyscale_probability))
    bicubic = transforms.InterpolationMode.BICUBIC
    steps.append(
        transforms.RandomResizedCrop(size, scale=spec.crop_scale, ratio=spec.crop_ratio, interpolation=bicubic)
    )
    steps.append(transforms.RandomHorizontalFlip(p=spec.flip_probability))
    if spec.blur_probability > 0:
        steps.append(transforms.RandomApply([GaussianBlur(spec.blur_sigma)], p=spec.blur_probability))
    if spec.solarise_probability > 0:
        threshold = 255 * spec.solarise_threshold
        steps.append(transforms.RandomSolarize(threshold=threshold, p=spec.solarise_probability))
    steps += [transforms.ToTensor(), transforms.Normalize(mean, std)]
    return transforms.Compose(steps)


class Views(Dataset[tuple[list[Tensor], int]]):
    """Images as uint8 (N, H, W, C); an item is `views` independent views of one image and its label."""

    def __init__(
        self, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], views: int, view: transforms.Compose
    ) -> None:
        self.pixels = pixels
        self.labels = labels
        self.views = views
        self.view = view

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[list[Tensor], int]:
        pixels = self.pixels[index]
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        return [self.view(image) for _ in range(self.views)], int(self.labels[index])


def loader(
    pixels: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    spec: Augmentation,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    views: int = 2,
    batch_size: int = 512,
    workers: int | None = None,
    pin_memory: bool = False,
) -> DataLoader[tuple[list[Tensor], int]]:
    """Batches of ([views] of (N, C, size, size) float32, (N,) labels); as many workers as cores unless told."""
    return DataLoader(
        Views(pixels, labels, views, transform(spec, size, mean, std)),
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers if workers is not None else (os.cpu_count() or 1),
        persistent_workers=workers != 0,
        pin_memory=pin_memory,
    )


def endless(batches: DataLoader[tuple[list[Tensor], int]]) -> Generator[list[Tensor], None, None]:
    """The views of one batch after another, epoch after epoch."""
    while True:
        for views, _ in batches:
            yield views


def pause() -> None:
    """Stop all worker processes where they are, so that another side has the cores to itself; see `resume`."""
    _send("SIGSTOP")


def resume() -> None:
    """Let the worker processes go on, their queues as they were."""
    _send("SIGCONT")


def closing(batches: Generator[list[Tensor], None, None]) -> Callable[[], None]:
    """Ends `endless`: its workers must run to hear of it."""

    def close() -> None:
        resume()
        batches.close()

    return close


def _send(name: str) -> None:
    number: int | None = getattr(signal, name, None)
    if number is None:  # Windows: its workers go on filling their queues
        return
    for worker in multiprocessing.active_children():
        if worker.pid is not None:
            os.kill(worker.pid, number)
