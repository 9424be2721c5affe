"""Two random views of every image of a batch, from uint8 pixels to normalised tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from torch import Tensor

from harness.data.images import Images
from harness.data.views import ViewStream
from harness.spec.models import Augmentation, Input
from tests.benchmarks.conventional import pipeline
from tests.benchmarks.machine import Machine
from tests.benchmarks.timing import Implementation
from tests.benchmarks.trainer import input_of, random_images

VIEWS = 2
CIFAR = Augmentation()  # the W-MSE paper's
GREY = Augmentation(saturation=0, hue=0, greyscale_probability=0)
IMAGENET = Augmentation(
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
    greyscale_probability=0.2,
    crop_scale=(0.08, 1.0),
    blur_probability=0.5,
)
CASES = {  # pixels a side before and after, channels, batch on a CPU and on CUDA
    "32x32x3, 2 views, batch 512": (32, 32, 3, 512, CIFAR),
    "28x28x1, grey, 2 views, batch 512": (28, 28, 1, 512, GREY),
    "96x96x3 to 64x64, 2 views, batch 128": (96, 64, 3, 128, CIFAR),
    "256x256x3 to 224x224, blur, 2 views, batch 16": (256, 224, 3, 16, IMAGENET),
}


@pytest.mark.parametrize(("full", "size", "channels", "batch", "augmentation"), CASES.values(), ids=CASES)
def test_views(full, size, channels, batch, augmentation, compare, machine, small):
    batch = 4 if small else batch
    images, input = random_images((32 if full < 64 else 8) * batch, full, channels), input_of(size, channels)
    compare(
        "views/s",
        ours(images, input, augmentation, batch, machine),
        conventional(images, input, augmentation, batch, machine, workers=1 if small else machine.threads),
        against="PIL and torchvision in a DataLoader",
    )


@contextmanager
def ours(
    images: Images, input: Input, augmentation: Augmentation, batch: int, machine: Machine
) -> Iterator[Implementation]:
    stream = ViewStream(images, input, augmentation, VIEWS, batch, 0, machine.device)

    def endless() -> Iterator[Tensor]:
        epoch = 0
        while True:
            for batch in stream.epoch(epoch):
                yield batch.views[0]
            epoch += 1

    batches = endless()

    def run(calls: int) -> None:
        for _ in range(calls):
            assert next(batches).shape == (VIEWS, batch, input.channels, input.size, input.size)

    # what was made while nobody measured does not count
    yield Implementation(run, machine.device, VIEWS * batch, before=lambda: run(1))


@contextmanager
def conventional(
    images: Images, input: Input, augmentation: Augmentation, batch: int, machine: Machine, workers: int
) -> Iterator[Implementation]:
    queued = 2 * workers  # batches that the loader holds ready; a call takes as many, so that none comes for nothing
    with pipeline.batches(np.asarray(images.pixels), augmentation, input, VIEWS, batch, workers) as batches:

        def run(calls: int) -> None:
            for _ in range(calls * queued):
                for view in next(batches):
                    assert view.to(machine.device).shape == (batch, input.channels, input.size, input.size)

        yield Implementation(
            run,
            machine.device,
            VIEWS * batch * queued,
            before=pipeline.resume_workers,
            after=pipeline.pause_workers,
        )
