"""The conventional augmentation: PIL images and torchvision's transforms, one image at a time, in the worker processes
of a DataLoader, as public self-supervised training code does it. Never imports the code that it is compared with.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from harness.spec.models import Augmentation, Input


class GaussianBlur:
    """PIL's Gaussian blur with a random radius, as SimCLR-style code applies it."""

    def __init__(self, sigma: tuple[float, float]) -> None:
        self.sigma = sigma

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(*self.sigma)))


def transform(spec: Augmentation, input: Input) -> transforms.Compose:
    """The random pipeline of one view, in the order of the W-MSE paper's code."""
    jitter = transforms.ColorJitter(spec.brightness, spec.contrast, spec.saturation, spec.hue)
    steps: list[object] = [transforms.RandomApply([jitter], p=spec.jitter_probability)]
    if spec.greyscale_probability > 0:
        steps.append(transforms.RandomGrayscale(p=spec.greyscale_probability))
    bicubic = transforms.InterpolationMode.BICUBIC
    steps.append(transforms.RandomResizedCrop(input.size, spec.crop_scale, spec.crop_ratio, interpolation=bicubic))
    steps.append(transforms.RandomHorizontalFlip(p=spec.flip_probability))
    if spec.blur_probability > 0:
        steps.append(transforms.RandomApply([GaussianBlur(spec.blur_sigma)], p=spec.blur_probability))
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(input.mean, input.std)])


class Views(Dataset[list[Tensor]]):
    """Images as uint8 (N, H, W, C); an item is `views` independent views of one image."""

    def __init__(self, pixels: npt.NDArray[np.uint8], views: int, view: transforms.Compose) -> None:
        self.pixels, self.views, self.view = pixels, views, view

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> list[Tensor]:
        pixels = self.pixels[index]
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        return [self.view(image) for _ in range(self.views)]


@contextmanager
def batches(
    pixels: npt.NDArray[np.uint8], spec: Augmentation, input: Input, views: int, batch_size: int, workers: int
) -> Iterator[Generator[list[Tensor], None, None]]:
    """Batch after batch, epoch after epoch: `views` tensors (batch_size, C, size, size). The workers are paused."""
    loader = DataLoader(
        Views(pixels, views, transform(spec, input)),
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )

    def endless() -> Generator[list[Tensor], None, None]:
        while True:
            yield from loader

    made = endless()
    try:
        yield made
    finally:
        resume_workers()  # a stopped process cannot end
        made.close()


def pause_workers() -> None:
    """Stop all worker processes where they are, so that another program has the cores to itself."""
    _send("SIGSTOP")


def resume_workers() -> None:
    """Let them go on, their queues as they were."""
    _send("SIGCONT")


def _send(name: str) -> None:
    number: int | None = getattr(signal, name, None)
    if number is None:  # Windows: its workers go on filling their queues
        return
    for worker in multiprocessing.active_children():
        if worker.pid is not None:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(worker.pid, number)
