"""Batches of augmented views for pretraining, and clean batches for evaluation.

Owns the order of the images, where their pixels are held, and the evaluation transform. Draws come from named streams
on the CPU, so that they are the same on every device and a run can start at any epoch and step. Never computes an
augmentation itself (see `augment`), and never chooses what is augmented how.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.data.augment import augment, draw
from harness.data.datasets import DataError
from harness.data.decoding import CleanWork, ViewWork, augment_stream, pieces, worked
from harness.data.images import AnyImages, Images, StreamedImages
from harness.spec.models import Augmentation, Input, Transform, Views
from harness.streams import stream
from methods.method import Batch

RESIDENT_SHARE = 0.5  # of the device's free memory, which the images may take for good


class ViewStream:
    """The batches of a run: every epoch each image once, in an order that depends only on the seed and the epoch.

    Two methods with one seed see the same images in the same order; with the same number of views, the same views,
    whatever further groups of views there are.
    The last, incomplete batch of an epoch is dropped.
    """

    def __init__(
        self,
        images: AnyImages,
        input: Input,
        augmentation: Augmentation,
        views: int,
        batch_size: int,
        seed: int,
        device: torch.device | str,
        workers: int | None = None,
        more_views: Sequence[Views] = (),
    ) -> None:
        """`views` is d of the first group, `batch_size` the number N of images. DataError if there are
        fewer.

        `workers` is the number of processes that decode streamed images; 0 decodes in this one, None takes as
        many as torch has threads. It changes no view.
        """
        if len(images) < batch_size:
            raise DataError(
                f"{len(images)} training images do not fill one batch of {batch_size}. Use a batch_size "
                f"of at most {len(images)}, or more images (train_images, validation_fraction)"
            )
        self.input, self._batch_size, self._seed = input, batch_size, seed
        self._groups = (Views(count=views, augmentation=augmentation), *more_views)
        self._device = torch.device(device)
        self._workers = workers
        self._source = _resident(images, self._device) if isinstance(images, Images) else images
        self._labels = torch.from_numpy(np.ascontiguousarray(images.labels))
        self.steps_per_epoch = len(images) // batch_size

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from step `first_step` on: the same as if the epoch began at its start."""
        order = torch.randperm(len(self._labels), generator=stream(self._seed, "order", epoch))
        steps = range(first_step, self.steps_per_epoch)
        for step, views in zip(steps, self._view_batches(epoch, steps, order), strict=True):
            rows = order[step * self._batch_size : (step + 1) * self._batch_size]
            labels = self._labels.index_select(0, rows)  # brackets would wake all of torch's threads for a few numbers
            yield Batch(views, labels.to(self._device, non_blocking=True), rows.to(self._device, non_blocking=True))

    def _view_batches(self, epoch: int, steps: range, order: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """(d, N, C, S, S) of each group, for each step."""
        size = self._batch_size
        if isinstance(self._source, Tensor):
            for step in steps:
                rows = order[step * size : (step + 1) * size]
                packed, numbers = self._chosen(self._source, rows)
                yield tuple(
                    self._augmented(packed, numbers, group, augment_stream(self._seed, place, epoch, step))
                    for place, group in enumerate(self._groups)
                )
        else:
            work = ViewWork(self._source, self.input, self._groups, self._seed)
            yield from work.views(epoch, steps, order, size, self._device, self._workers)

    def _chosen(self, packed: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The packed pixels (images, H, W, C) on the device, or only these rows; and where in them the rows are."""
        if packed.device.type == self._device.type:
            return packed, rows
        return packed.index_select(0, rows).to(self._device, non_blocking=True), torch.arange(len(rows))

    def _augmented(self, packed: Tensor, rows: Tensor, group: Views, generator: torch.Generator) -> Tensor:
        """A group's views (d, N, C, S, S) of some rows of the packed pixels (images, H, W, C)."""
        height, width = packed.shape[1:3]
        drawn = draw(group.augmentation, group.count * len(rows), height, width, generator)
        size, mean, std = group.size or self.input.size, self.input.mean, self.input.std
        augmented = augment(packed, drawn, size, mean, std, rows.repeat(group.count))
        return augmented.view(group.count, len(rows), *augmented.shape[1:])


def _resident(images: Images, device: torch.device) -> Tensor:
    """The pixels where they are indexed: on the device if they fit, else in the (memory-mapped) array they are in."""
    pixels = torch.from_numpy(images.pixels)
    if device.type == "cuda" and pixels.nbytes <= RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
        return pixels.to(device)
    return pixels


def clean(
    images: AnyImages,
    input: Input,
    transform: Transform,
    device: torch.device | str,
    batch: int = 1000,
    workers: int | None = None,
) -> Iterator[Tensor]:
    """The images in their order as an evaluation sees them: (n, C, S, S) float32 batches, normalised, on the device.

    Shorter edge resized to `transform.resize`, centre crop to `input.size`; without a resize, straight to `input.size`
    where the size differs. Bicubic with antialiasing, rounded back to 8 bits, as torchvision does with 8-bit images.
    `workers` as for `ViewStream`. DataError, with the file's name, for an image that cannot be read.
    """
    size, resize = input.size, transform.resize
    if resize is not None and resize < size:
        raise DataError(f"resize {resize} is smaller than the crop, the input's size {size}")
    if isinstance(images, StreamedImages):
        work = CleanWork(images, partial(evaluation_crop, size=size, resize=resize))
        for piece in worked(work, pieces(range(1), len(images)), workers, torch.device(device).type == "cuda"):
            yield normalise(piece.to(device, non_blocking=True).float(), input)
        return
    for first in range(0, len(images), batch):
        pixels = torch.from_numpy(images.pixels[first : first + batch]).to(device)
        yield normalise(evaluation_crop(pixels.permute(0, 3, 1, 2), size, resize), input)


def evaluation_crop(pixels: Tensor, size: int, resize: int | None) -> Tensor:
    """uint8 (n, C, H, W) -> float32 (n, C, S, S) of whole numbers 0..255, S = `size`."""
    height, width = pixels.shape[-2:]
    target = (size, size)
    if resize is not None:
        short = min(height, width)
        target = (resize * height // short, resize * width // short)
    image = pixels.float()
    # Along the rows, then along the columns, to 8 bits each time: as Pillow does, and with it the papers' pipelines.
    for step in ((height, target[1]), target):
        if step != image.shape[-2:]:
            image = functional.interpolate(image, step, mode="bicubic", antialias=True, align_corners=False)
            image = image.add_(0.5).floor_().clamp_(0, 255)  # halves go up
    top, left = round((target[0] - size) / 2), round((target[1] - size) / 2)
    return image[..., top : top + size, left : left + size]


def normalise(image: Tensor, input: Input) -> Tensor:
    """(n, C, H, W) of 0..255 -> (image / 255 - mean) / std, per channel."""
    mean = torch.tensor(input.mean, device=image.device).view(-1, 1, 1)
    std = torch.tensor(input.std, device=image.device).view(-1, 1, 1)
    return (image / 255 - mean) / std
